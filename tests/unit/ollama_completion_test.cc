// Runs completions through the adapter for Ollama: the examples of
// tests/data/completions, and what only completions have: prompts, echo, legacy
// log probabilities. What they share with chats is tested there, in
// ollama_chat_test.cc.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <jansson.h>

#include "cmocka.hpp"
#include "ollama_talk.h"

using namespace llmproxy;

namespace
{

constexpr Maker kMake = make_ollama_completion;

Seen talk(Client &client, const Reply &reply, size_t cut)
{
    return talk(kMake, client, reply, cut);
}

void examples_translate_at_every_cut(void **)
{
    assert_true(run_examples(kMake, "completions", "/api/generate") >= 14);
}

std::string request_with(const std::string &members)
{
    return R"({"model":"ollama:m","prompt":"hi")" +
           (members.empty() ? "" : "," + members) + "}";
}

void assert_refused(const std::string &request, const char *param,
                    const char *code)
{
    Client client(request);
    const Seen seen = talk(client, Reply(), kWhole);
    if (!seen.refused || seen.error.param != param ||
        std::string(api_error_code(seen.error)) != code) {
        print_error("%s\n", request.c_str());
    }
    assert_true(seen.refused);
    assert_int_equal(api_error_status(seen.error), 400);
    assert_string_equal(seen.error.param.c_str(), param);
    assert_string_equal(api_error_code(seen.error), code);
}

void bad_requests_name_the_member(void **)
{
    static const struct {
        const char *members;
        const char *param;
        const char *code;
    } cases[] = {
        {R"("stream":1)", "stream", "invalid_type"},
        {R"("stream_options":{"include_usage":1})",
         "stream_options.include_usage", "invalid_type"},
        {R"("max_tokens":0)", "max_tokens", "invalid_value"},
        {R"("temperature":"0")", "temperature", "invalid_type"},
        {R"("top_p":[])", "top_p", "invalid_type"},
        {R"("seed":1.5)", "seed", "invalid_type"},
        {R"("frequency_penalty":{})", "frequency_penalty", "invalid_type"},
        {R"("presence_penalty":"1")", "presence_penalty", "invalid_type"},
        {R"("stop":["a",5])", "stop[1]", "invalid_type"},
        {R"("suffix":5)", "suffix", "invalid_type"},
        {R"("suffix":"x","raw":true)", "suffix", "invalid_value"},
        {R"("echo":1)", "echo", "invalid_type"},
        {R"("echo":true,"logprobs":0)", "echo", "unsupported_parameter"},
        {R"("logprobs":true)", "logprobs", "invalid_type"},
        {R"("logprobs":false)", "logprobs", "invalid_type"},
        {R"("logprobs":1.5)", "logprobs", "invalid_type"},
        {R"("logprobs":"1")", "logprobs", "invalid_type"},
        {R"("logprobs":-1)", "logprobs", "invalid_value"},
        {R"("logprobs":21)", "logprobs", "invalid_value"},
        {R"("n":2)", "n", "unsupported_parameter"},
        {R"("n":"1")", "n", "invalid_type"},
        {R"("best_of":2)", "best_of", "unsupported_parameter"},
        {R"("best_of":0)", "best_of", "unsupported_parameter"},
        {R"("logit_bias":{"1":5})", "logit_bias", "unsupported_parameter"},
        {R"("logit_bias":[])", "logit_bias", "invalid_type"},
        {R"("raw":"yes")", "raw", "invalid_type"},
        {R"("system":1)", "system", "invalid_type"},
        {R"("template":{})", "template", "invalid_type"},
        {R"("images":"AAAA")", "images", "invalid_type"},
        {R"("images":["AAAA",1])", "images[1]", "invalid_type"},
        {R"("stop":[5])", "stop[0]", "invalid_type"},
        {R"("format":"xml")", "format", "invalid_type"},
        {R"("response_format":{"type":"xml"})", "response_format.type",
         "invalid_value"},
        {R"("think":"ultra")", "think", "invalid_value"},
        {R"("options":{"num_gpu":1})", "options.num_gpu",
         "unsupported_parameter"},
        {R"("keep_alive":"300")", "keep_alive", "invalid_value"},
        {R"("truncate":1)", "truncate", "invalid_type"},
        {R"("shift":1)", "shift", "invalid_type"},
    };
    for (const auto &row : cases) {
        assert_refused(request_with(row.members), row.param, row.code);
    }
}

// `images` is Ollama's own: base64 without the head of a data URL.
void images_are_base64(void **)
{
    const std::string good(4000, 'A');
    static const char *const bad[] = {
        "data:image/png;base64,AAAA", "AAA", "", "AA=A", "A A", "http://x/y"};
    for (const char *text : bad) {
        for (const size_t padding : {size_t{0}, size_t{4000}}) {
            Client client(request_with(R"("images":["AAAA",")" +
                                       std::string(padding, ' ') + text +
                                       R"("])"));
            const Seen seen = talk(client, Reply(), kWhole);
            assert_true(seen.refused);
            assert_int_equal(api_error_status(seen.error), 400);
            assert_string_equal(seen.error.param.c_str(), "images[1]");
            assert_string_equal(seen.error.message.c_str(),
                                "invalid image input");
        }
    }
    Client client(request_with(R"("images":[")" + good +
                               R"(","A A\nA=","AA==",")" + good + R"(\n"])"));
    ApiError err;
    const std::unique_ptr<Adapter> adapter = kMake();
    assert_true(client.start(*adapter, err));
    assert_true(uncopied(client) == 2 * good.size());
    const json::Ptr sent = parse(client.upstream_body());
    const json::Ptr wanted =
        parse(R"([")" + good + R"(","AAA=","AA==",")" + good + R"("])");
    assert_json(json::get(sent.get(), "images"), wanted.get(), "images");
}

void bad_prompts_are_refused(void **)
{
    static const struct {
        const char *prompt; // nullptr = no such member
        const char *code;
        const char *param = "prompt";
    } cases[] = {
        {nullptr, "missing_required_parameter"},
        {"null", "missing_required_parameter"},
        {"5", "invalid_type"},
        {"true", "invalid_type"},
        {"{}", "invalid_type"},
        {"[]", "invalid_type"},
        {"[null]", "invalid_type", "prompt[0]"},
        {R"(["a",5])", "invalid_type", "prompt[1]"},
        {R"([5,"a"])", "invalid_type", "prompt[0]"},
        {"[5]", "unsupported_parameter"},
        {"[1,2]", "unsupported_parameter"},
        {"[[1,2],[3]]", "unsupported_parameter"},
    };
    for (const auto &row : cases) {
        assert_refused(row.prompt == nullptr
                           ? R"({"model":"ollama:m"})"
                           : std::string(R"({"model":"ollama:m","prompt":)") +
                                 row.prompt + "}",
                       row.param, row.code);
    }
}

void members_become_ollamas(void **)
{
    static const struct {
        const char *members;
        const char *upstream; // beside model, prompt, stream and truncate
    } cases[] = {
        {"", ""},
        {R"("temperature":null,"suffix":null,"echo":null,"best_of":1)", ""},
        {R"("suffix":"","raw":true)", R"("raw":true)"},
        {R"("suffix":"x","raw":false)", R"("raw":false,"suffix":"x")"},
        {R"("logprobs":0)", R"("logprobs":true,"top_logprobs":0)"},
        {R"("logprobs":20.0)", R"("logprobs":true,"top_logprobs":20)"},
        {R"("echo":true,"logprobs":null)", ""},
        {R"("response_format":{"type":"json_object"},"format":"json")",
         R"("format":{"type":"object"})"},
        {R"("reasoning_effort":"none")", R"("think":false)"},
        {R"("max_tokens":3,"options":{"num_predict":9})",
         R"("options":{"num_predict":3})"},
    };
    for (const auto &row : cases) {
        Client client(request_with(row.members));
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        const std::string wanted =
            std::string(R"({"model":"m","stream":false,"truncate":false,)") +
            R"("prompt":"hi")" + (row.upstream[0] == '\0' ? "" : ",") +
            row.upstream + "}";
        assert_json(parse(client.upstream_body()).get(), parse(wanted).get(),
                    row.members);
    }
}

// Long enough to be left out of the tree.
std::string long_text()
{
    std::string text;
    for (int i = 0; i < 400; i++) {
        text += R"(\u003cb\u003e \"q\" \\ \/ caf)"
                "\xc3\xa9 ";
    }
    return text;
}

void long_strings_are_neither_copied_nor_changed(void **)
{
    const std::string text = long_text();
    const std::string image(4000, 'A');
    Client client(R"({"model":"ollama:m","prompt":[")" + text +
                  R"("],"suffix":")" + text + R"(","images":[")" + image +
                  R"("]})");
    ApiError err;
    const std::unique_ptr<Adapter> adapter = kMake();
    assert_true(client.start(*adapter, err));
    assert_true(uncopied(client) == 2 * text.size() + image.size());
    const std::string wanted =
        R"({"model":"m","stream":false,"truncate":false,"prompt":")" + text +
        R"(","suffix":")" + text + R"(","images":[")" + image + R"("]})";
    assert_json(parse(client.upstream_body()).get(), parse(wanted).get(),
                "long");
}

std::string line_with(std::string_view text, const char *rest)
{
    return R"({"model":"m","created_at":"2026-09-01T08:31:00.1Z",)"
           R"("response":")" +
           std::string(text) + rest;
}

const char kMore[] = "\",\"done\":false}\n";
const char kStop[] = "\",\"done\":true,\"done_reason\":\"stop\"}\n";

Seen stream(const std::string &body, size_t cut, const char *members = "")
{
    Client client(request_with(std::string(R"("stream":true)") + members));
    Reply reply;
    reply.body = body;
    return talk(client, reply, cut);
}

std::string text_of(const json_t *object)
{
    const json_t *choice = json_array_get(json::get(object, "choices"), 0);
    return std::string(json::string_of(json::get(choice, "text")));
}

// The client's body is dropped as soon as the answer's head is out, which an
// early keep-alive brings forward.
void a_long_prompt_is_echoed_after_its_body_is_gone(void **)
{
    const std::string text = long_text();
    const std::string wanted =
        text_of(parse(R"({"choices":[{"text":")" + text + "b\"}]}").get());
    for (const bool streams : {true, false}) {
        Client client(R"({"model":"ollama:m","echo":true,"prompt":")" + text +
                      (streams ? R"(","stream":true})" : "\"}"));
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        client.body.assign(client.body.size(), '#');
        ReplyHead head;
        head.status = 200;
        head.fields.push_back({"Content-Type", "application/x-ndjson"});
        std::string out;
        const AdaptStatus status =
            feed(*adapter, head, line_with("b", kStop), kWhole, kWhole, out);
        assert_true(status == AdaptStatus::Done);
        std::string seen;
        if (streams) {
            const json::Ptr events = read_events(out);
            assert_int_equal(json_array_size(events.get()), 3);
            assert_int_equal(adapter->pieces(), 2);
            seen = text_of(json_array_get(events.get(), 0)) +
                   text_of(json_array_get(events.get(), 1));
        } else {
            seen = text_of(parse(out).get());
        }
        assert_true(seen == wanted);
    }
}

void an_error_before_any_output_keeps_its_status(void **)
{
    const std::string thinking =
        R"({"created_at":"x","response":"","thinking":"t","done":false})"
        "\n";
    const std::string error = "{\"error\":\"out of memory\"}\n";
    for (const std::string &before : {std::string(), thinking}) {
        const Seen seen = stream(before + error, kWhole);
        assert_false(seen.begun);
        assert_int_equal(api_error_status(seen.error), 500);
        assert_string_equal(seen.error.message.c_str(), "out of memory");
    }
    // The prompt comes with the first line, not before it.
    assert_false(stream(error, kWhole, R"(,"echo":true)").begun);
    assert_true(stream(thinking + error, kWhole, R"(,"echo":true)").begun);
}

void lines_of_a_chat_are_no_answer(void **)
{
    const Seen seen = stream(R"({"message":{"role":"assistant",)"
                             R"("content":"a"}})"
                             "\n",
                             kWhole);
    assert_false(seen.begun);
    assert_string_equal(api_error_code(seen.error), "backend_error");
}

void cut_lines_never_pass(void **)
{
    const std::string line = line_with(R"(a\u003c\\)"
                                       "\xf0\x9f\x98\x80",
                                       kMore);
    for (size_t size = 1; size + 1 < line.size(); size++) {
        const Seen seen = stream(line.substr(0, size) + "\n", kWhole);
        assert_int_equal(static_cast<int>(seen.status),
                         static_cast<int>(AdaptStatus::Failed));
        assert_false(seen.begun);
    }
}

void long_steps_are_put_off(void **)
{
    std::string logprobs;
    for (int i = 0; i < 1000; i++) {
        logprobs += R"(,{"token":"a","logprob":-0.5,"bytes":[97]})";
    }
    const std::string with_logprobs =
        "\",\"done\":false,\"logprobs\":[" + logprobs.substr(1) + "]}\n";
    const std::string body = line_with("b", with_logprobs.c_str());
    const Seen streamed =
        stream(line_with("a", kMore) + body + line_with("c", kStop), kWhole);
    assert_true(streamed.status == AdaptStatus::Done);
    assert_int_equal(streamed.put_off, 1);
    const json::Ptr events = read_events(streamed.body);
    assert_int_equal(json_array_size(events.get()), 4);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(text_of(json_array_get(events.get(), i)).c_str(),
                            std::string(1, static_cast<char>('a' + i)).c_str());
    }

    Client whole(request_with(""));
    Reply reply;
    reply.body = line_with(std::string(2 * kLongWork, 'x'), kStop);
    const Seen seen = talk(whole, reply, 1000);
    assert_true(seen.status == AdaptStatus::Done);
    assert_int_equal(seen.put_off, 1);

    const std::vector<Field> fields;
    std::string members = R"("x":[0)";
    while (members.size() < kLongWork) {
        members += ",0";
    }
    Client dense(request_with(members + "]"));
    assert_true(kMake()->starts_long(dense.request(fields)));
}

// A large prompt takes long to copy, in the request and in the answer.
void a_large_echo_is_put_off(void **)
{
    const std::vector<Field> fields;
    const std::string large(65 * kLongWork, 'x');
    for (const bool streams : {true, false}) {
        Client client(R"({"model":"ollama:m","echo":true,"prompt":")" + large +
                      (streams ? R"(","stream":true})" : "\"}"));
        assert_true(kMake()->starts_long(client.request(fields)));
        Reply reply;
        if (streams) {
            reply.body = line_with("a", kMore) + line_with("b", kMore);
        }
        reply.body += line_with("c", kStop);
        const Seen seen = talk(client, reply, kWhole);
        assert_true(seen.status == AdaptStatus::Done);
        assert_int_equal(seen.put_off, 1);
        assert_true(seen.body.find(large + (streams ? "\"" : "c\"")) !=
                    std::string::npos);
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_translate_at_every_cut),
        cmocka_unit_test(bad_requests_name_the_member),
        cmocka_unit_test(images_are_base64),
        cmocka_unit_test(bad_prompts_are_refused),
        cmocka_unit_test(members_become_ollamas),
        cmocka_unit_test(long_strings_are_neither_copied_nor_changed),
        cmocka_unit_test(a_long_prompt_is_echoed_after_its_body_is_gone),
        cmocka_unit_test(an_error_before_any_output_keeps_its_status),
        cmocka_unit_test(lines_of_a_chat_are_no_answer),
        cmocka_unit_test(cut_lines_never_pass),
        cmocka_unit_test(long_steps_are_put_off),
        cmocka_unit_test(a_large_echo_is_put_off),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
