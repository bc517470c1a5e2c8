// Runs embeddings through the adapter for Ollama: the examples of
// tests/data/embeddings, numbers of every form against jansson, and answers
// that cannot be used.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <jansson.h>

#include "cmocka.hpp"
#include "ollama_talk.h"

using namespace llmproxy;

namespace
{

constexpr Maker kMake = make_ollama_embedding;

Seen talk(Client &client, const Reply &reply, size_t cut)
{
    return talk(kMake, client, reply, cut);
}

Reply json_reply(std::string body)
{
    return {200, "application/json; charset=utf-8", std::move(body)};
}

std::string request_with(const std::string &members)
{
    return R"({"model":"ollama:m",)" + members + "}";
}

// For `count` texts.
std::string request_for(size_t count, const char *format)
{
    std::string out = R"("encoding_format":")";
    out.append(format).append(R"(","input":[)");
    for (size_t i = 0; i < count; i++) {
        out += i == 0 ? R"("x")" : R"(,"x")";
    }
    return request_with(out + "]");
}

void examples_translate_at_every_cut(void **)
{
    assert_true(run_examples(kMake, "embeddings", "/api/embed") >= 14);
}

// -- requests ------------------------------------------------------------

constexpr char kTokens[] = "token arrays are not supported; send text "
                           "(LangChain: check_embedding_ctx_length=False)";

void bad_requests_name_the_member(void **)
{
    static const struct {
        const char *members;
        const char *param;
        const char *code;
        const char *message; // nullptr = any
    } cases[] = {
        {R"("x":1)", "input", "missing_required_parameter", "invalid input"},
        {R"("input":null)", "input", "missing_required_parameter",
         "invalid input"},
        {R"("input":[])", "input", "invalid_value", "invalid input"},
        {R"("input":5)", "input", "invalid_type", "invalid input"},
        {R"("input":true)", "input", "invalid_type", "invalid input"},
        {R"("input":{})", "input", "invalid_type", "invalid input"},
        {R"("input":[1,2])", "input", "unsupported_parameter", kTokens},
        {R"("input":[[1,2],[3]])", "input", "unsupported_parameter", kTokens},
        {R"("input":["a",5])", "input[1]", "unsupported_parameter", kTokens},
        {R"("input":[5,"a"])", "input", "unsupported_parameter", kTokens},
        {R"("input":["a",[5]])", "input[1]", "unsupported_parameter", kTokens},
        {R"("input":["a",null])", "input[1]", "invalid_type",
         "invalid input type"},
        {R"("input":[["a"]])", "input[0]", "invalid_type",
         "invalid input type"},
        {R"("input":[[]])", "input[0]", "invalid_type", "invalid input type"},
        {R"("input":["a","b",{}])", "input[2]", "invalid_type",
         "invalid input type"},
        {R"("input":"a","dimensions":0)", "dimensions", "invalid_value",
         "'dimensions' must be at least 1."},
        {R"("input":"a","dimensions":-1)", "dimensions", "invalid_value",
         nullptr},
        {R"("input":"a","dimensions":"8")", "dimensions", "invalid_type",
         nullptr},
        {R"("input":"a","dimensions":1.5)", "dimensions", "invalid_type",
         nullptr},
        {R"("input":"a","encoding_format":"hex")", "encoding_format",
         "invalid_value",
         "Invalid value for 'encoding_format' = hex. Supported values: "
         "['float', 'base64']."},
        {R"("input":"a","encoding_format":"")", "encoding_format",
         "invalid_value",
         "Invalid value for 'encoding_format' = . Supported values: "
         "['float', 'base64']."},
        {R"("input":"a","encoding_format":1)", "encoding_format",
         "invalid_type", nullptr},
        {R"("input":"a","options":[])", "options", "invalid_type", nullptr},
        {R"("input":"a","options":{"num_gpu":1})", "options.num_gpu",
         "unsupported_parameter", nullptr},
        {R"("input":"a","options":{"num_ctx":"x"})", "options.num_ctx",
         "invalid_type", nullptr},
        {R"("input":"a","num_ctx":0)", "num_ctx", "invalid_value", nullptr},
        {R"("input":"a","keep_alive":"300")", "keep_alive", "invalid_value",
         nullptr},
        {R"("input":"a","truncate":1)", "truncate", "invalid_type", nullptr},
    };
    for (const auto &row : cases) {
        Client client(request_with(row.members));
        const Seen seen = talk(client, Reply(), kWhole);
        if (!seen.refused || seen.error.param != row.param) {
            print_error("%s: %s\n", row.members, seen.error.param.c_str());
        }
        assert_true(seen.refused);
        assert_int_equal(api_error_status(seen.error), 400);
        assert_string_equal(seen.error.param.c_str(), row.param);
        assert_string_equal(api_error_code(seen.error), row.code);
        if (row.message != nullptr) {
            assert_string_equal(seen.error.message.c_str(), row.message);
        }
    }
}

void inputs_are_2048_at_most(void **)
{
    const Reply empty = json_reply(R"({"embeddings":[]})");
    Client enough(request_for(2048, "float"));
    const Seen seen = talk(enough, empty, kWhole);
    assert_false(seen.refused);
    const json::Ptr sent = parse(enough.upstream_body());
    assert_int_equal(json_array_size(json::get(sent.get(), "input")), 2048);

    Client many(request_for(2049, "float"));
    const Seen refused = talk(many, empty, kWhole);
    assert_true(refused.refused);
    assert_int_equal(api_error_status(refused.error), 400);
    assert_string_equal(refused.error.param.c_str(), "input");
}

void long_values_are_not_quoted_whole(void **)
{
    const std::string text(5000, 'y');
    Client client(
        request_with(R"("input":"a","encoding_format":")" + text + "\""));
    const Seen seen = talk(client, Reply(), kWhole);
    assert_true(seen.refused);
    assert_true(seen.error.message.find("= " + text.substr(0, 64) + ".") !=
                std::string::npos);
}

void long_texts_are_neither_copied_nor_changed(void **)
{
    const std::string text = "\\u00e9\\n\xc3\xa9" + std::string(5000, 'z');
    const struct {
        std::string members;
        size_t strings;
    } cases[] = {
        {R"("input":")" + text + "\"", 1},
        {R"("input":[")" + text + R"(","b",")" + text + "\"]", 2},
    };
    for (const auto &row : cases) {
        Client client(request_with(row.members));
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        assert_true(uncopied(client) >= row.strings * text.size());
        const json::Ptr sent = parse(client.upstream_body());
        const json::Ptr wanted = parse("[\"" + text + "\"]");
        assert_json(
            json_array_get(json::get(sent.get(), "input"), row.strings * 2 - 2),
            json_array_get(wanted.get(), 0), "text");
    }
}

void encoding_format_has_any_case_and_is_not_sent(void **)
{
    static const struct {
        const char *value;
        const char *embedding;
    } cases[] = {
        {R"("float")", "[0.5]"},          {R"("FLOAT")", "[0.5]"},
        {R"("base64")", R"("AAAAPw==")"}, {R"("Base64")", R"("AAAAPw==")"},
        {R"("BASE64")", R"("AAAAPw==")"}, {"null", "[0.5]"},
    };
    for (const auto &row : cases) {
        Client client(request_with(R"("input":"a","encoding_format":)" +
                                   std::string(row.value)));
        const Seen seen =
            talk(client, json_reply(R"({"embeddings":[[0.5]]})"), kWhole);
        assert_true(
            seen.body.find(R"("embedding":)" + std::string(row.embedding)) !=
            std::string::npos);
        assert_string_equal(client.upstream_body().c_str(),
                            R"({"model":"m","input":["a"],"truncate":false})");
    }
}

void truncate_follows_client_then_settings(void **)
{
    static const struct {
        const char *members;
        bool setting;
        const char *wanted; // nullptr = not sent
    } cases[] = {
        {"", false, "false"},
        {"", true, nullptr},
        {R"(,"truncate":true)", false, "true"},
        {R"(,"truncate":false)", true, "false"},
    };
    for (const auto &row : cases) {
        Client client(
            request_with(R"("input":"a")" + std::string(row.members)));
        client.config.ollama_truncate = row.setting;
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        const json::Ptr sent = parse(client.upstream_body());
        const json_t *truncate = json_object_get(sent.get(), "truncate");
        assert_string_equal(truncate == nullptr ? ""
                                                : json::dump(truncate).c_str(),
                            row.wanted == nullptr ? "" : row.wanted);
    }
}

void the_head_is_ours(void **)
{
    Client client(request_with(R"("input":"a")"));
    client.config.backends[0].api_key = "key";
    ApiError err;
    const std::unique_ptr<Adapter> adapter = kMake();
    assert_true(client.start(*adapter, err));
    assert_true(client.upstream.post);
    std::string headers;
    for (const std::string &line : client.upstream.headers) {
        headers += line + "\n";
    }
    assert_string_equal(headers.c_str(), "Content-Type: application/json\n"
                                         "Accept: application/json\n"
                                         "X-Request-Id: req-1\n"
                                         "Authorization: Bearer key\n");
    assert_false(adapter->streaming());
}

// -- numbers -------------------------------------------------------------

std::vector<unsigned char> from_base64(std::string_view text)
{
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::vector<unsigned char> out;
    uint32_t bits = 0;
    int count = 0;
    assert_int_equal(text.size() % 4, 0);
    while (!text.empty() && text.back() == '=') {
        text.remove_suffix(1);
    }
    for (const char c : text) {
        const size_t value = alphabet.find(c);
        assert_true(value != std::string_view::npos);
        bits = bits << 6 | static_cast<uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out.push_back(static_cast<unsigned char>(bits >> count));
        }
    }
    return out;
}

std::vector<float> floats_of(std::string_view base64)
{
    const std::vector<unsigned char> bytes = from_base64(base64);
    assert_int_equal(bytes.size() % 4, 0);
    std::vector<float> out;
    for (size_t at = 0; at < bytes.size(); at += 4) {
        const uint32_t bits = static_cast<uint32_t>(bytes[at]) |
                              static_cast<uint32_t>(bytes[at + 1]) << 8 |
                              static_cast<uint32_t>(bytes[at + 2]) << 16 |
                              static_cast<uint32_t>(bytes[at + 3]) << 24;
        float value = 0;
        memcpy(&value, &bits, sizeof value);
        out.push_back(value);
    }
    return out;
}

// As a real: jansson knows no integer -0, and prints 9 digits like this.
double nine_digits(double value)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%.9g", value);
    return strtod(text, nullptr);
}

// The vectors of the answer are those of `reply` as jansson reads it.
void check_vectors(const Seen &seen, const json_t *reply, bool base64)
{
    const json::Ptr answer = parse(seen.body);
    const json_t *data = json::get(answer.get(), "data");
    const json_t *wanted = json::get(reply, "embeddings");
    assert_int_equal(json_array_size(data), json_array_size(wanted));
    for (size_t i = 0; i < json_array_size(data); i++) {
        const json_t *item = json_array_get(data, i);
        const json_t *vector = json_array_get(wanted, i);
        int64_t index = -1;
        assert_true(json::get_int(item, "index", index));
        assert_int_equal(index, i);
        const json_t *embedding = json::get(item, "embedding");
        std::vector<float> floats;
        if (base64) {
            assert_true(json_is_string(embedding));
            floats = floats_of(json::string_of(embedding));
            assert_int_equal(floats.size(), json_array_size(vector));
        } else {
            assert_true(json_is_array(embedding));
            assert_int_equal(json_array_size(embedding),
                             json_array_size(vector));
        }
        for (size_t k = 0; k < json_array_size(vector); k++) {
            const double value = json_number_value(json_array_get(vector, k));
            if (base64) {
                const auto narrow = static_cast<float>(value);
                assert_memory_equal(&floats[k], &narrow, sizeof narrow);
            } else {
                const double seen_value =
                    json_number_value(json_array_get(embedding, k));
                assert_true(seen_value == nine_digits(value));
            }
        }
    }
}

// A number in any form that JSON has, never an integer -0.
std::string any_number(std::mt19937 &random)
{
    const auto pick = [&random](size_t count) {
        return std::uniform_int_distribution<size_t>(0, count - 1)(random);
    };
    const auto digits = [&](size_t count) {
        std::string out;
        for (size_t i = 0; i < count; i++) {
            out += static_cast<char>('0' + pick(pick(4) == 0 ? 1 : 10));
        }
        return out;
    };
    std::string out = pick(2) == 0 ? "-" : "";
    switch (pick(5)) {
    case 0: // what Ollama writes
        return out + "0.0" + digits(8);
    case 1: { // the shortest text of any float
        uint32_t bits = static_cast<uint32_t>(random());
        float value = 0;
        memcpy(&value, &bits, sizeof value);
        char text[40];
        (void)snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
        const bool fine = std::isfinite(value) && std::fabs(value) < 3e38F;
        return fine ? text : "0.5";
    }
    case 2: // a few digits before the point, many behind it
        return out + std::to_string(1 + pick(9)) + digits(pick(6)) + "." +
               digits(1 + pick(30));
    case 3: // with an exponent
        return out + std::to_string(pick(10)) + "." + digits(1 + pick(20)) +
               (pick(2) == 0 ? "e" : "E") +
               (pick(2) == 0 ? "-" + std::to_string(pick(330))
                             : "+" + std::to_string(pick(38)));
    default: // an integer
        return out + std::to_string(1 + pick(9)) + digits(pick(18));
    }
}

std::string any_reply(std::mt19937 &random, size_t count, size_t size)
{
    std::string out = R"({"model":"m","embeddings":[)";
    for (size_t i = 0; i < count; i++) {
        out += i == 0 ? "[" : ",[";
        for (size_t k = 0; k < size; k++) {
            out += (k == 0 ? "" : ",") + any_number(random);
        }
        out += "]";
    }
    return out + R"(],"prompt_eval_count":5})";
}

void numbers_are_what_jansson_reads(void **)
{
    std::mt19937 random(20261124);
    for (size_t round = 0; round < 60; round++) {
        // The last one is a large batch.
        const size_t count = round == 59 ? 256 : 1 + round % 5;
        const size_t size = round == 59 ? 1024 : round * 7;
        const Reply reply = json_reply(any_reply(random, count, size));
        const json::Ptr read = parse(reply.body);
        for (const char *format : {"float", "base64"}) {
            const std::string request = request_for(count, format);
            Client client(request);
            const Seen whole = talk(client, reply, kWhole);
            assert_true(whole.status == AdaptStatus::Done);
            assert_int_equal(whole.shape.length.value_or(0), whole.body.size());
            check_vectors(whole, read.get(), format[0] == 'b');
            Client again(request);
            const Seen bytes = talk(again, reply, 0);
            assert_true(bytes.body == whole.body);
        }
    }
}

void special_numbers(void **)
{
    static const struct {
        const char *text;
        const char *as_float; // nullptr = refused
        const char *as_base64;
    } cases[] = {
        {"0", "0", "AAAAAA=="},
        {"-0", "-0", "AAAAgA=="},
        {"-0.0", "-0.0", "AAAAgA=="},
        {"1", "1", "AACAPw=="},
        {"0.1", "0.1", "zczMPQ=="},
        {"0.10000000149011612", "0.100000001", "zczMPQ=="},
        {"0.010071029", "0.010071029", "9QAlPA=="},
        {"1e-7", "1e-07", "lb/WMw=="},
        {"123456789", "123456789", "o3nrTA=="},
        {"1234567890", "1.23456789e+09", "BiyTTg=="},
        {"16777217", "16777217", "AACASw=="},
        {"3.4028235e+38", "3.4028235e+38", "//9/fw=="},
        {"-3.4028235e+38", "-3.4028235e+38", "//9//w=="},
        {"1e-45", "1e-45", "AQAAAA=="}, // the least float
        {"1e-46", "1e-46", "AAAAAA=="}, // nearer to 0
        {"-1e-400", "-0", "AAAAgA=="},  // beyond double, too
        {"0e400", "0", "AAAAAA=="},
        {"0.0000001e-99999999999999999999", "0", "AAAAAA=="},
        {"3.40282356e+38", "3.40282356e+38", "//9/fw=="},
        {"3.4028235678e38", nullptr, nullptr}, // rounds to infinity
        {"3.5e38", nullptr, nullptr},
        {"1e39", nullptr, nullptr},
        {"1e400", nullptr, nullptr},
        {"-1e400", nullptr, nullptr},
        {"0.1e99999999999999999999", nullptr, nullptr},
        {"01", nullptr, nullptr},
        {"-", nullptr, nullptr},
        {"+1", nullptr, nullptr},
        {".5", nullptr, nullptr},
        {"1.", nullptr, nullptr},
        {"1.e5", nullptr, nullptr},
        {"1e", nullptr, nullptr},
        {"1e+", nullptr, nullptr},
        {"1-1", nullptr, nullptr},
        {"--1", nullptr, nullptr},
        {"1.2.3", nullptr, nullptr},
        {"1e5e5", nullptr, nullptr},
        {"e5", nullptr, nullptr},
    };
    for (const auto &row : cases) {
        const Reply reply =
            json_reply(std::string(R"({"embeddings":[[)") + row.text + "]]}");
        for (const bool base64 : {false, true}) {
            Client client(request_for(1, base64 ? "base64" : "float"));
            const Seen seen = talk(client, reply, kWhole);
            const char *wanted = base64 ? row.as_base64 : row.as_float;
            if (wanted == nullptr) {
                assert_true(seen.status == AdaptStatus::Failed);
                assert_string_equal(api_error_code(seen.error),
                                    "backend_bad_response");
                continue;
            }
            const std::string embedding = std::string(R"("embedding":)") +
                                          (base64 ? "\"" : "[") + wanted +
                                          (base64 ? "\"}" : "]}");
            if (seen.body.find(embedding) == std::string::npos) {
                print_error("%s: %s\n", row.text, seen.body.c_str());
                fail();
            }
        }
    }
    Client client(request_for(1, "base64"));
    const Seen seen =
        talk(client, json_reply(R"({"embeddings":[[0.1,-0.2,0.3]]})"), kWhole);
    assert_true(seen.body.find(R"("zczMPc3MTL6amZk+")") != std::string::npos);
}

// -- answers -------------------------------------------------------------

void answers_that_cannot_be_used(void **)
{
    const std::string deep(3000, '[');
    const std::string bodies[] = {
        " ",
        "null",
        "[]",
        R"("embeddings")",
        R"({})",
        R"({"model":"m"})",
        R"({"embeddings":null})",
        R"({"embeddings":"x"})",
        R"({"embeddings":{}})",
        R"({"embeddings":[1,2]})",
        R"({"embeddings":[null]})",
        R"({"embeddings":[[null]]})",
        R"({"embeddings":[[NaN]]})",
        R"({"embeddings":[["1"]]})",
        R"({"embeddings":[[true]]})",
        R"({"embeddings":[[[1]]]})",
        R"({"embeddings":[[{}]]})",
        R"({"embeddings":[[1,]]})",
        R"({"embeddings":[[,1]]})",
        R"({"embeddings":[[1 2]]})",
        R"({"embeddings":[[1]],[[2]]})",
        R"({"embeddings":[[1],[2],x]})",
        R"({"embeddings":[[1],]})",
        R"({"embeddings":[[1][2]]})",
        R"({"embeddings":[,[1]]})",
        R"({"embeddings":[[1]}})",
        R"({"embeddings":[[1}]})",
        R"({"embeddings":[[1]])",
        R"({"embeddings":[[1])",
        R"({"embeddings":[[1)",
        R"({"embeddings":[[)",
        R"({"embeddings":[)",
        R"({"embeddings":)",
        R"({"embeddings")",
        R"({"embeddings":[[1]]}x)",
        R"({"embeddings":[[1]]}{"embeddings":[[1]]})",
        R"({"embeddings":[[1]],"embeddings":[[1]]})",
        R"({"embedd\u0069ngs":[[1]]})",
        R"({"x":{"embeddings":[[1]]}})",
        R"([{"embeddings":[[1]]}])",
        R"(]{"embeddings":[[1]]})",
        R"(]]{{"embeddings":[[1]]})",
        R"({"x":"embeddings":[[1]]})",
        R"({"x":"\","embeddings":[[1]]})",
        "{\"x\":\"\xff\",\"embeddings\":[[1]]}",
        R"({"x":)" + deep + R"(,"embeddings":[[1]]})",
        R"({"embeddings":)" + deep,
        R"({"embeddings":[[0.)" + std::string(2000, '1') + "]]}",
        "<html>",
    };
    for (const std::string &body : bodies) {
        std::string message;
        for (const size_t cut : {kWhole, size_t{0}, body.size() / 2}) {
            Client client(request_for(1, "float"));
            const Seen seen = talk(client, json_reply(body), cut);
            if (seen.status != AdaptStatus::Failed) {
                print_error("not refused: %s\n", body.c_str());
            }
            assert_true(seen.status == AdaptStatus::Failed);
            assert_false(seen.begun);
            assert_int_equal(api_error_status(seen.error), 502);
            assert_string_equal(api_error_code(seen.error),
                                "backend_bad_response");
            if (message.empty()) {
                message = seen.error.message;
            }
            assert_string_equal(seen.error.message.c_str(), message.c_str());
        }
    }
}

void an_empty_success_is_a_failure_that_would_repeat(void **)
{
    Client client(request_for(1, "float"));
    const Seen seen = talk(client, json_reply(""), kWhole);
    assert_true(seen.status == AdaptStatus::Failed);
    assert_false(seen.begun);
    assert_int_equal(api_error_status(seen.error), 502);
    assert_string_equal(api_error_code(seen.error), "backend_error");
    assert_string_equal(seen.error.message.c_str(),
                        "the backend ended its answer without finishing it");
    assert_true(seen.error.no_retry);
}

void every_prefix_of_an_answer_fails(void **)
{
    const std::string body =
        R"({"model":"m","embeddings":[[0.5,-1e-3]],"prompt_eval_count":1})";
    for (size_t size = 1; size < body.size(); size++) {
        for (const size_t cut : {kWhole, size_t{0}}) {
            Client client(request_for(1, "base64"));
            const Seen seen =
                talk(client, json_reply(body.substr(0, size)), cut);
            assert_true(seen.status == AdaptStatus::Failed);
            assert_false(seen.begun);
            assert_string_equal(api_error_code(seen.error),
                                "backend_bad_response");
        }
    }
}

void errors_inside_a_success_are_errors(void **)
{
    static const struct {
        const char *body;
        const char *message;
    } cases[] = {
        {R"({"error":"it broke"})", "it broke"},
        {R"({"error":{"message":"it broke"}})", "it broke"},
        {R"({"embeddings":[[1]],"error":"late"})", "late"},
        {R"({"error":"early","embeddings":[[1],[2],[3]]})", nullptr},
    };
    for (const auto &row : cases) {
        for (const size_t cut : {kWhole, size_t{0}}) {
            Client client(request_for(1, "float"));
            const Seen seen = talk(client, json_reply(row.body), cut);
            assert_true(seen.status == AdaptStatus::Failed);
            assert_false(seen.begun);
            if (row.message != nullptr) {
                assert_int_equal(api_error_status(seen.error), 500);
                assert_string_equal(seen.error.message.c_str(), row.message);
            }
        }
    }
}

void usage_is_what_was_counted(void **)
{
    static const struct {
        const char *members;
        int64_t tokens;
    } cases[] = {
        {R"(,"prompt_eval_count":7)", 7},    {"", 0},
        {R"(,"prompt_eval_count":null)", 0}, {R"(,"prompt_eval_count":-3)", 0},
        {R"(,"prompt_eval_count":"7")", 0},
    };
    for (const auto &row : cases) {
        Client client(request_for(1, "float"));
        const Seen seen =
            talk(client,
                 json_reply(std::string(R"({"embeddings":[[1]])") +
                            row.members + "}"),
                 kWhole);
        assert_true(seen.status == AdaptStatus::Done);
        assert_int_equal(seen.usage.prompt, row.tokens);
        assert_int_equal(seen.usage.completion, -1);
        const json::Ptr body = parse(seen.body);
        const json_t *usage = json::get(body.get(), "usage");
        int64_t total = -1;
        int64_t prompt = -1;
        assert_true(json::get_int(usage, "prompt_tokens", prompt));
        assert_true(json::get_int(usage, "total_tokens", total));
        assert_int_equal(prompt, row.tokens);
        assert_int_equal(total, row.tokens);
    }
}

void unusable_heads_fail(void **)
{
    static const struct {
        int status;
        const char *name;
        const char *value;
    } cases[] = {
        {200, "Content-Type", "text/html"},
        {200, "X-Other", "x"},
        {302, "Content-Type", "application/json"},
        {204, "Content-Type", "application/json"},
    };
    for (const auto &row : cases) {
        Client client(request_for(1, "float"));
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        ReplyHead head;
        head.status = row.status;
        head.fields.push_back({row.name, row.value});
        assert_true(adapter->reply_head(head) == AdaptStatus::Failed);
        assert_string_equal(api_error_code(adapter->error()),
                            "backend_bad_response");
    }
}

// -- amounts -------------------------------------------------------------

// An adapter whose request for `count` texts went out and was accepted.
std::unique_ptr<Adapter> answering(Client &client)
{
    std::unique_ptr<Adapter> adapter = kMake();
    ApiError err;
    assert_true(client.start(*adapter, err));
    ReplyHead head;
    head.status = 200;
    head.fields.push_back({"Content-Type", "application/json"});
    assert_true(adapter->reply_head(head) == AdaptStatus::More);
    return adapter;
}

void too_many_vectors_end_the_answer_early(void **)
{
    Client client(request_for(2, "float"));
    const std::unique_ptr<Adapter> adapter = answering(client);
    std::string out;
    assert_true(adapter->reply_data(R"({"embeddings":[[1],[2],)", out) ==
                AdaptStatus::More);
    assert_true(adapter->reply_data("[", out) == AdaptStatus::Failed);
    assert_true(out.empty());
}

void answers_have_bounds(void **)
{
    static const struct {
        const char *begin;
        size_t limit;
    } cases[] = {
        {R"({"embeddings":[)", kMaxReply}, // white space
        {R"({)", size_t{1} << 20},         // the same, not in there
        {R"({"x":")", size_t{1} << 20},    // an unknown member
        {R"({"error":")", size_t{1} << 20},
    };
    const std::string piece(size_t{256} << 10, ' ');
    for (const auto &row : cases) {
        Client client(request_for(1, "float"));
        const std::unique_ptr<Adapter> adapter = answering(client);
        std::string out;
        AdaptStatus status = adapter->reply_data(row.begin, out);
        size_t fed = strlen(row.begin);
        while (status == AdaptStatus::More) {
            fed += piece.size();
            assert_true(fed <= row.limit + piece.size());
            status = adapter->reply_data(piece, out);
        }
        assert_true(status == AdaptStatus::Failed);
        assert_true(fed > row.limit);
        assert_string_equal(api_error_code(adapter->error()),
                            "backend_bad_response");
    }
}

void what_takes_long_is_put_off(void **)
{
    const std::string text(kLongWork, 'x');
    std::string large = R"({"embeddings":[[0.25)";
    for (size_t i = 0; i < 300000; i++) {
        large += ",0.25";
    }
    large += "]]}";
    const struct {
        Reply reply;
        size_t put_off;
        bool done;
    } cases[] = {
        {json_reply(R"({"embeddings":[[1]]})"), 0, true},
        {json_reply(large), 1, true},
        {json_reply(R"({"embeddings":[[1]],"x":")" + text + "\"}"), 1, true},
        {{400, "application/json", R"({"error":"x"})"}, 0, false},
        {{400, "application/json", R"({"error":")" + text + "\"}"}, 1, false},
    };
    for (const auto &row : cases) {
        Client client(request_for(1, "float"));
        const Seen seen = talk(client, row.reply, kWhole);
        assert_int_equal(seen.put_off, row.put_off);
        assert_int_equal(seen.status == AdaptStatus::Done, row.done);
        if (row.done) {
            assert_int_equal(seen.shape.length.value_or(0), seen.body.size());
            (void)parse(seen.body);
        }
    }

    const std::vector<Field> fields;
    const std::unique_ptr<Adapter> adapter = kMake();
    Client small(request_with(R"("input":[")" + text + "\"]"));
    assert_false(adapter->starts_long(small.request(fields)));
    Client dense(request_for(2048 * 4, "float"));
    assert_true(adapter->starts_long(dense.request(fields)));
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_translate_at_every_cut),
        cmocka_unit_test(bad_requests_name_the_member),
        cmocka_unit_test(inputs_are_2048_at_most),
        cmocka_unit_test(long_values_are_not_quoted_whole),
        cmocka_unit_test(long_texts_are_neither_copied_nor_changed),
        cmocka_unit_test(encoding_format_has_any_case_and_is_not_sent),
        cmocka_unit_test(truncate_follows_client_then_settings),
        cmocka_unit_test(the_head_is_ours),
        cmocka_unit_test(numbers_are_what_jansson_reads),
        cmocka_unit_test(special_numbers),
        cmocka_unit_test(answers_that_cannot_be_used),
        cmocka_unit_test(an_empty_success_is_a_failure_that_would_repeat),
        cmocka_unit_test(every_prefix_of_an_answer_fails),
        cmocka_unit_test(errors_inside_a_success_are_errors),
        cmocka_unit_test(usage_is_what_was_counted),
        cmocka_unit_test(unusable_heads_fail),
        cmocka_unit_test(too_many_vectors_end_the_answer_early),
        cmocka_unit_test(answers_have_bounds),
        cmocka_unit_test(what_takes_long_is_put_off),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
