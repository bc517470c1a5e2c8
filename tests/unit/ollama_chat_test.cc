// Runs chats through the adapter for Ollama: the examples of tests/data/ollama
// (request, what Ollama is asked, what it answers, what the client gets), the
// recorded answers of a real Ollama, and what a broken backend may send.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <cstdlib>
#include <cstring>
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

constexpr Maker kMake = make_ollama_chat;

Seen talk(Client &client, const Reply &reply, size_t cut)
{
    return talk(kMake, client, reply, cut);
}

void examples_translate_at_every_cut(void **)
{
    assert_true(run_examples(kMake, "ollama", "/api/chat") >= 19);
}

const char kHi[] = R"("messages":[{"role":"user","content":"hi"}])";

std::string request_with(const std::string &members)
{
    return std::string(R"({"model":"ollama:m",)") + kHi +
           (members.empty() ? "" : ",") + members + "}";
}

void bad_requests_name_the_member(void **)
{
    static const struct {
        const char *members;
        const char *param;
        const char *code; // nullptr = null
    } cases[] = {
        {R"("stream":1)", "stream", "invalid_type"},
        {R"("stream_options":true)", "stream_options", "invalid_type"},
        {R"("stream_options":{"include_usage":1})",
         "stream_options.include_usage", "invalid_type"},
        {R"("max_tokens":"5")", "max_tokens", "invalid_type"},
        {R"("max_tokens":1.5)", "max_tokens", "invalid_type"},
        {R"("max_tokens":0)", "max_tokens", "invalid_value"},
        {R"("max_completion_tokens":-2)", "max_completion_tokens",
         "invalid_value"},
        {R"("temperature":"0")", "temperature", "invalid_type"},
        {R"("temperature":true)", "temperature", "invalid_type"},
        {R"("top_p":[])", "top_p", "invalid_type"},
        {R"("seed":"1")", "seed", "invalid_type"},
        {R"("seed":1.5)", "seed", "invalid_type"},
        {R"("frequency_penalty":{})", "frequency_penalty", "invalid_type"},
        {R"("stop":5)", "stop", "invalid_type"},
        {R"("stop":["a",5])", "stop", "invalid_type"},
        {R"("response_format":"json")", "response_format", "invalid_type"},
        {R"("response_format":{"type":"xml"})", "response_format.type",
         "invalid_value"},
        {R"("response_format":{"type":"json_schema"})",
         "response_format.json_schema.schema", "invalid_type"},
        {R"("tools":{})", "tools", "invalid_type"},
        {R"("tools":[{"type":"web"}])", "tools[0].type", "invalid_value"},
        {R"("tools":[{"type":"function","function":{}}])",
         "tools[0].function.name", "invalid_type"},
        {R"("tool_choice":"maybe")", "tool_choice", "invalid_type"},
        {R"("tool_choice":{"function":{"name":"f"}})", "tool_choice",
         "invalid_value"},
        {R"("reasoning_effort":"huge")", "reasoning_effort", nullptr},
        {R"("reasoning":{"effort":"huge"})", "reasoning.effort", nullptr},
        {R"("logprobs":2)", "logprobs", "invalid_type"},
        {R"("logprobs":true,"top_logprobs":21)", "top_logprobs",
         "invalid_value"},
        {R"("top_logprobs":2)", "top_logprobs", "invalid_value"},
        {R"("n":0)", "n", "unsupported_parameter"},
        {R"("logit_bias":{"1":5})", "logit_bias", "unsupported_parameter"},
        {R"("functions":[])", "functions", "unsupported_parameter"},
        {R"("function_call":"auto")", "function_call", "unsupported_parameter"},
        {R"("modalities":["text","audio"])", "modalities",
         "unsupported_parameter"},
        {R"("audio":{})", "audio", "unsupported_parameter"},
        {R"("options":[])", "options", "invalid_type"},
        {R"("options":{"num_gpu":1})", "options.num_gpu",
         "unsupported_parameter"},
        {R"("options":{"top_k":"4"})", "options.top_k", "invalid_type"},
        {R"("num_ctx":0)", "num_ctx", "invalid_value"},
        {R"("keep_alive":"300")", "keep_alive", "invalid_value"},
        {R"("keep_alive":"-1")", "keep_alive", "invalid_value"},
        {R"("keep_alive":true)", "keep_alive", "invalid_value"},
        {R"("think":"ultra")", "think", "invalid_value"},
        {R"("format":"xml")", "format", "invalid_type"},
        {R"("truncate":1)", "truncate", "invalid_type"},
    };
    for (const auto &row : cases) {
        Client client(request_with(row.members));
        const Seen seen = talk(client, Reply(), kWhole);
        if (!seen.refused) {
            print_error("not refused: %s\n", row.members);
        }
        assert_true(seen.refused);
        assert_int_equal(api_error_status(seen.error), 400);
        assert_string_equal(seen.error.param.c_str(), row.param);
        const char *code = api_error_code(seen.error);
        assert_string_equal(code == nullptr ? "" : code,
                            row.code == nullptr ? "" : row.code);
    }
}

void bad_messages_name_the_place(void **)
{
    static const struct {
        const char *messages;
        const char *param;
    } cases[] = {
        {R"("x")", "messages"},
        {R"([])", "messages"},
        {R"(null)", "messages"},
        {R"(["x"])", "messages[0]"},
        {R"([{"content":"x"}])", "messages[0].role"},
        {R"([{"role":"user","content":"x"},{"role":"bot","content":"x"}])",
         "messages[1].role"},
        {R"([{"role":"user"}])", "messages[0].content"},
        {R"([{"role":"assistant"}])", "messages[0].content"},
        {R"([{"role":"user","content":5}])", "messages[0].content"},
        {R"([{"role":"user","content":["x"]}])", "messages[0].content[0]"},
        {R"([{"role":"user","content":[{"type":"text","text":"a"},)"
         R"({"type":"file","file":{}}]}])",
         "messages[0].content[1]"},
        {R"([{"role":"user","content":[{"type":"image_url",)"
         R"("image_url":{"url":"data:image/gif;base64,AAAA"}}]}])",
         "messages[0].content[0]"},
        {R"([{"role":"user","content":[{"type":"image_url",)"
         R"("image_url":{"url":"data:image/png;base64,AAA"}}]}])",
         "messages[0].content[0]"},
        {R"([{"role":"assistant","tool_calls":[{"function":{}}]}])",
         "messages[0].tool_calls[0].function.name"},
        {R"([{"role":"assistant","tool_calls":[{"function":{"name":"f",)"
         R"("arguments":"[1]"}}]}])",
         "messages[0].tool_calls[0].function.arguments"},
        {R"([{"role":"assistant","tool_calls":5}])", "messages[0].tool_calls"},
    };
    for (const auto &row : cases) {
        Client client(std::string(R"({"model":"ollama:m","messages":)") +
                      row.messages + "}");
        const Seen seen = talk(client, Reply(), kWhole);
        if (!seen.refused) {
            print_error("not refused: %s\n", row.messages);
        }
        assert_true(seen.refused);
        assert_int_equal(api_error_status(seen.error), 400);
        assert_string_equal(seen.error.param.c_str(), row.param);
    }
}

void members_become_ollamas(void **)
{
    static const struct {
        const char *members;
        const char *upstream; // beside model, messages, stream and truncate
    } cases[] = {
        {"", ""},
        {R"("temperature":null,"stop":null,"n":1,"logit_bias":{})", ""},
        {R"("max_tokens":-1,"stop":[],"modalities":["text"])", ""},
        {R"("max_tokens":7.0,"max_completion_tokens":null)",
         R"("options":{"num_predict":7})"},
        {R"("stop":["a","","b"])", R"("options":{"stop":["a","b"]})"},
        {R"("num_ctx":4096,"options":{"num_ctx":8192,"top_k":null})",
         R"("options":{"num_ctx":8192})"},
        {R"("options":{"num_predict":9},"max_tokens":3)",
         R"("options":{"num_predict":3})"},
        {R"("reasoning_effort":"xhigh")", R"("think":"max")"},
        {R"("reasoning_effort":"low","reasoning":{"effort":"none"})",
         R"("think":false)"},
        {R"("reasoning_effort":"low","think":true)", R"("think":true)"},
        {R"("response_format":{"type":"json_object"},"format":"json")",
         R"("format":{"type":"object"})"},
        {R"("response_format":{"type":"text"},"format":"json")", ""},
        {R"("format":"json")", R"("format":"json")"},
        {R"("logprobs":false)", ""},
        {R"("keep_alive":-1)", R"("keep_alive":-1)"},
        {R"("keep_alive":"1h30m")", R"("keep_alive":"1h30m")"},
        {R"("keep_alive":"1.5s")", R"("keep_alive":"1.5s")"},
        {R"("keep_alive":"0","shift":true)",
         R"("keep_alive":"0","shift":true)"},
        {R"("tools":[],"tool_choice":"none")", ""},
        {R"("tools":[{"type":"function","function":{"name":"a"}},)"
         R"({"type":"function","function":{"name":"b"}}],)"
         R"("tool_choice":{"type":"function","function":{"name":"b"}})",
         R"("tools":[{"type":"function","function":{"name":"b"}}])"},
        {R"("tools":[{"type":"function","function":{"name":"a"}}],)"
         R"("tool_choice":"none")",
         ""},
    };
    for (const auto &row : cases) {
        Client client(request_with(row.members));
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        const std::string wanted =
            std::string(R"({"model":"m","stream":false,"truncate":false,)") +
            kHi + (row.upstream[0] == '\0' ? "" : ",") + row.upstream + "}";
        assert_json(parse(client.upstream_body()).get(), parse(wanted).get(),
                    row.members);
    }
}

void truncate_follows_client_then_settings(void **)
{
    static const struct {
        const char *members;
        bool setting;
        const char *wanted;
    } cases[] = {
        {"", false, R"({"truncate":false})"},
        {"", true, "{}"},
        {R"("truncate":true)", false, R"({"truncate":true})"},
        {R"("truncate":false)", true, R"({"truncate":false})"},
    };
    for (const auto &row : cases) {
        Client client(request_with(row.members));
        client.config.ollama_truncate = row.setting;
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        const json::Ptr body = parse(client.upstream_body());
        const json::Ptr wanted = parse(row.wanted);
        assert_true(json_equal(json_object_get(body.get(), "truncate"),
                               json_object_get(wanted.get(), "truncate")) ||
                    (json_object_get(body.get(), "truncate") == nullptr &&
                     json_object_size(wanted.get()) == 0));
    }
}

void dropped_members_are_listed(void **)
{
    std::string members = R"("store":false,"metadata":{},"user":"",)"
                          R"("verbosity":"low","tool_choice":"required",)"
                          R"("bad name":1,"x\r\ny: z":1)";
    Client client(request_with(members));
    ApiError err;
    std::unique_ptr<Adapter> adapter = kMake();
    assert_true(client.start(*adapter, err));
    assert_string_equal(adapter->shape().extra.text().c_str(),
                        "X-Proxy-Dropped-Params: tool_choice,verbosity\r\n");

    members.clear();
    std::string wanted = "X-Proxy-Dropped-Params: ";
    for (char c = 'a'; c <= 'z'; c++) {
        members += members.empty() ? "" : ",";
        members += std::string("\"x") + c + "\":1";
        if (c <= 'p') {
            wanted += std::string("x") + c + ",";
        }
    }
    Client many(request_with(members));
    adapter = kMake();
    assert_true(many.start(*adapter, err));
    assert_string_equal(adapter->shape().extra.text().c_str(),
                        (wanted + "...\r\n").c_str());
}

void token_of_the_backend_is_sent(void **)
{
    Client client(request_with(R"("stream":true)"));
    client.config.backends[0].api_key = "key-of-ollama";
    ApiError err;
    const std::unique_ptr<Adapter> adapter = kMake();
    assert_true(client.start(*adapter, err));
    const std::vector<std::string> wanted = {
        "Content-Type: application/json", "Accept: application/x-ndjson",
        "X-Request-Id: req-1", "Authorization: Bearer key-of-ollama"};
    assert_true(client.upstream.headers == wanted);
    // An early keep-alive needs to know this before Ollama has answered.
    assert_true(adapter->streaming());
    assert_true(adapter->shape().sse);
}

void long_strings_are_neither_copied_nor_changed(void **)
{
    std::string text;
    for (int i = 0; i < 400; i++) {
        text += R"(\u003cb\u003e \"q\" \\ \/ caf)"
                "\xc3\xa9 ";
    }
    const std::string messages =
        R"("messages":[{"role":"user","content":")" + text +
        R"("},{"role":"user","content":[{"type":"text","text":"a"},)"
        R"({"type":"text","text":")" +
        text + R"("},{"type":"text","text":"b"}]}])";
    Client client(R"({"model":"ollama:m",)" + messages + "}");
    ApiError err;
    const std::unique_ptr<Adapter> adapter = kMake();
    assert_true(client.start(*adapter, err));
    assert_true(uncopied(client) == 2 * text.size());
    const std::string wanted =
        R"({"model":"m","stream":false,"truncate":false,)"
        R"("messages":[{"role":"user","content":")" +
        text + R"("},{"role":"user","content":"a\n)" + text + R"(\nb"}]})";
    assert_json(parse(client.upstream_body()).get(), parse(wanted).get(),
                "long");
}

void long_images_are_neither_copied_nor_changed(void **)
{
    const std::string data(4000, 'A');
    for (const char *head : {"data:image/png;base64,",
                             R"(data:image\/png;base64,)", "data:;base64,"}) {
        Client client(R"({"model":"ollama:m","messages":[{"role":"user",)"
                      R"("content":[{"type":"image_url","image_url":{"url":")" +
                      std::string(head) + data + R"("}}]}]})");
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        assert_true(uncopied(client) == data.size());
        const std::string wanted =
            R"({"model":"m","stream":false,"truncate":false,"messages":[)"
            R"({"role":"user","content":"","images":[")" +
            data + R"("]}]})";
        assert_json(parse(client.upstream_body()).get(), parse(wanted).get(),
                    head);
    }
    Client remote(R"({"model":"ollama:m","messages":[{"role":"user",)"
                  R"("content":[{"type":"image_url","image_url":)"
                  R"("http:\/\/x\/)" +
                  data + R"("}]}]})");
    assert_true(talk(remote, Reply(), kWhole).refused);
}

void long_tool_arguments_become_an_object(void **)
{
    const std::string text(3000, 'x');
    Client client(R"({"model":"ollama:m","messages":[{"role":"assistant",)"
                  R"("tool_calls":[{"function":{"name":"f","arguments":)"
                  R"("{\"a\":\")" +
                  text + R"(\"}"}}]}]})");
    ApiError err;
    const std::unique_ptr<Adapter> adapter = kMake();
    assert_true(client.start(*adapter, err));
    const std::string wanted =
        R"({"model":"m","stream":false,"truncate":false,"messages":[)"
        R"({"role":"assistant","content":"","tool_calls":[{"function":)"
        R"({"index":0,"name":"f","arguments":{"a":")" +
        text + R"("}}}]}]})";
    assert_json(parse(client.upstream_body()).get(), parse(wanted).get(),
                "arguments");
}

void oversized_skeletons_are_refused(void **)
{
    std::string messages;
    for (int i = 0; i < 4400; i++) {
        messages +=
            R"({"role":"user","content":")" + std::string(1000, 'x') + R"("},)";
    }
    messages.pop_back();
    Client client(R"({"model":"ollama:m","messages":[)" + messages + "]}");
    const Seen seen = talk(client, Reply(), kWhole);
    assert_true(seen.refused);
    assert_int_equal(api_error_status(seen.error), 413);
    assert_true(seen.error.message.find("4 MiB") != std::string::npos);
}

void json_that_cannot_be_translated_is_refused(void **)
{
    const std::string filler(2000, 'x');
    const struct {
        std::string members;
        const char *says;
    } cases[] = {
        {R"("seed":99999999999999999999999)", "line 1"},
        {R"("metadata":{"a":1,"a":2})", "duplicate object key"},
        {R"("user":"\ud83d")", "unicode"},
        {R"("user":")" + filler + R"(\ud83d")", "unicode"},
        {R"("user":")" + filler + R"(","x":1e999)", "overflow"},
    };
    for (const auto &row : cases) {
        Client client(request_with(row.members));
        const Seen seen = talk(client, Reply(), kWhole);
        assert_true(seen.refused);
        assert_int_equal(api_error_status(seen.error), 400);
        assert_string_equal(api_error_code(seen.error), "invalid_json");
        if (seen.error.message.find(row.says) == std::string::npos) {
            print_error("%s\n", seen.error.message.c_str());
            fail();
        }
        assert_true(seen.error.message.find("xxx") == std::string::npos);
    }
}

// -- answers -------------------------------------------------------------

std::string line_with(std::string_view content, const char *rest)
{
    return R"({"model":"m","created_at":"2026-09-01T08:31:00.1Z","message":)"
           R"({"role":"assistant","content":")" +
           std::string(content) + rest;
}

const char kMore[] = "\"},\"done\":false}\n";
const char kSlowMore[] = "\"},\"done\":false }\n";
const char kStop[] = "\"},\"done\":true,\"done_reason\":\"stop\"}\n";

Seen stream(const std::string &body, size_t cut)
{
    Client client(request_with(R"("stream":true)"));
    Reply reply;
    reply.body = body;
    return talk(client, reply, cut);
}

// A blank that Ollama does not write sends a line the long way round.
void assert_both_ways(std::string_view content)
{
    const std::string end = line_with("", kStop);
    const Seen fast = stream(line_with(content, kMore) + end, kWhole);
    const Seen slow = stream(line_with(content, kSlowMore) + end, kWhole);
    assert_int_equal(static_cast<int>(fast.status),
                     static_cast<int>(slow.status));
    assert_int_equal(fast.begun, slow.begun);
    if (!fast.begun) {
        assert_string_equal(api_error_body(fast.error).c_str(),
                            api_error_body(slow.error).c_str());
        return;
    }
    assert_json(read_events(without_ids(fast.body)).get(),
                read_events(without_ids(slow.body)).get(), "both ways");
    if (content.find("\\u") == std::string_view::npos &&
        content.find("\\/") == std::string_view::npos) {
        assert_string_equal(without_ids(fast.body).c_str(),
                            without_ids(slow.body).c_str());
    }
}

// The last line, or the whole answer.
void assert_both_ends(std::string_view content, const std::string &end)
{
    const std::string before = "\"},\"done\":true,";
    const std::string fast_line = line_with(content, (before + end).c_str());
    const std::string slow_line =
        line_with(content, (before + ' ' + end).c_str());
    for (const char *members : {R"("stream":true)", R"("stream":false)",
                                R"("stream":true,"stream_options":)"
                                R"({"include_usage":true})"}) {
        Client client(request_with(members));
        Reply reply;
        reply.body = fast_line;
        const Seen fast = talk(client, reply, kWhole);
        reply.body = slow_line;
        const Seen slow = talk(client, reply, kWhole);
        if (fast.status != slow.status) {
            print_error("%s%s\n", members, fast_line.c_str());
        }
        assert_int_equal(static_cast<int>(fast.status),
                         static_cast<int>(slow.status));
        assert_int_equal(fast.usage.prompt, slow.usage.prompt);
        assert_int_equal(fast.usage.completion, slow.usage.completion);
        if (!fast.begun) {
            // A column in the message is one further.
            assert_string_equal(api_error_code(fast.error),
                                api_error_code(slow.error));
            continue;
        }
        if (fast.shape.sse) {
            assert_json(read_events(without_ids(fast.body)).get(),
                        read_events(without_ids(slow.body)).get(), "ends");
        } else {
            assert_json(parse(without_ids(fast.body)).get(),
                        parse(without_ids(slow.body)).get(), "ends");
            assert_true(*fast.shape.length == fast.body.size());
        }
    }
}

void both_ways_through_the_end_are_equal(void **)
{
    static const char *const ends[] = {
        R"("done_reason":"stop"})",
        R"("done_reason":"length"})"
        "\n",
        R"("done_reason":"load"})",
        R"("done_reason":"","eval_count":1})",
        R"("done_reason":"stop","total_duration":412000000,)"
        R"("load_duration":9000000,"prompt_eval_count":14,)"
        R"("prompt_eval_duration":21000000,"eval_count":3,)"
        R"("eval_duration":55000000})",
        R"("done_reason":"stop","prompt_eval_count":1,)"
        R"("prompt_eval_cached_count":7,"eval_count":2})",
        R"("done_reason":"stop","eval_count":0,"prompt_eval_count":10})",
        R"("done_reason":"stop","eval_count":1.5})",
        R"("done_reason":"stop","eval_count":-1})",
        R"("done_reason":"stop","eval_count":01})",
        R"("done_reason":"stop","eval_count":999999999999999999})",
        R"("done_reason":"stop","eval_count":1000000000000000000})",
        R"("done_reason":"stop","eval_count":99999999999999999999})",
        R"("done_reason":"stop","eval_count":1,"eval_count":2})",
        R"("done_reason":"stop","eval_count":})",
        R"("done_reason":"stop","logprobs":[{"token":"a","logprob":-1}]})",
        R"("done_reason":"stop","message":{"content":"b"}})",
        R"("done_reason":"stop","error":"no"})",
        R"("done_reason":"stop","other":7})",
        R"("done_reason":"stop"} )",
        R"("done_reason":"stop"}})",
        R"("done_reason":"stop")",
        R"("done_reason":"stop",})",
        R"("done_reason":"st\u006fp"})",
    };
    for (const char *end : ends) {
        for (const char *content :
             {"", "word", R"(\u003c\n\"\ud83d\ude00)", R"(\ud83d)", "\x01"}) {
            assert_both_ends(content, end);
        }
    }
}

void both_ways_through_a_line_are_equal(void **)
{
    static const char *const bits[] = {
        "a", "word ", R"(\")", R"(\\)", R"(\/)", R"(\n)", R"(\u003c)",
        R"(\u2028)", R"(\u0000)", R"(\ud83d\ude00)", "\xc3\xa9", "\xe6\x97\xa5",
        "\xf0\x9f\x98\x80", "\x7f", "{", "}", ",", ":",
        // What is not JSON: both must refuse it.
        R"(\ud83d)", R"(\x)", R"(\u00g0)", "\xff", "\xed\xa0\x80", "\xc0\xaf",
        "\xf4\x90\x80\x80", "\xe6\x97", "\x01", "\t", "\"",
        R"(","thinking":"t)"};
    constexpr size_t bit_count = sizeof bits / sizeof bits[0];
    constexpr size_t good = 18;
    srandom(7);
    for (int round = 0; round < 3000; round++) {
        std::string content;
        const long size = random() % 8;
        for (long i = 0; i < size; i++) {
            // Mostly good ones, or no long line would ever pass.
            const auto pick = static_cast<size_t>(random());
            content += bits[random() % 8 == 0 ? pick % bit_count : pick % good];
        }
        assert_both_ways(content);
    }
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

void an_error_before_any_output_keeps_its_status(void **)
{
    const Seen seen = stream("{\"error\":\"out of memory\"}\n", kWhole);
    assert_false(seen.begun);
    assert_int_equal(api_error_status(seen.error), 500);
    assert_string_equal(seen.error.message.c_str(), "out of memory");
}

void a_context_that_runs_out_in_a_stream_is_named(void **)
{
    const Seen seen =
        stream(line_with("a", kMore) +
                   "{\"error\":\"input exceeds the context length\"}\n",
               kWhole);
    assert_true(seen.begun);
    assert_string_equal(api_error_code(seen.error), "context_length_exceeded");
    assert_string_equal(seen.error.param.c_str(), "messages");
}

void what_follows_done_is_ignored(void **)
{
    const std::string body = line_with("a", kStop) + "{\"error\":\"late\"}\n";
    const Seen seen = stream(body, kWhole);
    assert_int_equal(static_cast<int>(seen.status),
                     static_cast<int>(AdaptStatus::Done));
    assert_true(ends_with(seen.body, "data: [DONE]\n\n"));
}

void blank_lines_and_crlf_are_lines_too(void **)
{
    std::string body = "\n\r\n" + line_with("a", kMore);
    body.insert(body.size() - 1, "\r");
    body += "\n" + line_with("b", kStop);
    for (size_t cut = 0; cut < body.size(); cut++) {
        const Seen seen = stream(body, cut);
        assert_int_equal(static_cast<int>(seen.status),
                         static_cast<int>(AdaptStatus::Done));
        assert_int_equal(json_array_size(read_events(seen.body).get()), 4);
    }
}

void a_line_nobody_understands_fails(void **)
{
    const Seen seen =
        stream("{\"error parsing tool call\": \"raw=x\"}\n", kWhole);
    assert_false(seen.begun);
    assert_string_equal(api_error_code(seen.error), "backend_error");
    assert_true(seen.error.message.find("raw=x") != std::string::npos);
    const Seen junk = stream("<html>\n", kWhole);
    assert_string_equal(api_error_code(junk.error), "backend_bad_response");
    const Seen list = stream("[]\n", kWhole);
    assert_string_equal(api_error_code(list.error), "backend_bad_response");
}

void a_line_without_end_fails(void **)
{
    const std::string body(kMaxLine + 1, 'x');
    const Seen seen = stream(line_with("a", kMore) + body, kWhole);
    assert_true(seen.begun);
    assert_string_equal(api_error_code(seen.error), "backend_bad_response");
    assert_true(seen.body.find("data: {\"error\"") != std::string::npos);
}

void unusable_heads_fail(void **)
{
    static const struct {
        int status;
        const char *name;
        const char *value;
    } cases[] = {
        {200, "Content-Type", "text/html"},
        {200, "X", "y"},
        {204, "Content-Type", "application/json"},
        {301, "Location", "http://elsewhere/"},
        {101, "Upgrade", "x"},
        {700, "X", "y"},
        {200, "Content-Encoding", "gzip"},
        {200, "Transfer-Encoding", "gzip, chunked"},
    };
    for (const auto &row : cases) {
        Client client(request_with(""));
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        ReplyHead head;
        head.status = row.status;
        head.fields.push_back({row.name, row.value});
        assert_int_equal(static_cast<int>(adapter->reply_head(head)),
                         static_cast<int>(AdaptStatus::Failed));
        assert_string_equal(api_error_code(adapter->error()),
                            "backend_bad_response");
        assert_int_equal(api_error_status(adapter->error()), 502);
    }
}

void refusals_become_ours(void **)
{
    static const struct {
        int status;
        const char *body;
        int client_status;
        const char *code; // nullptr = null
        const char *message;
    } cases[] = {
        {400, R"({"error":"invalid model name"})", 400, nullptr,
         "invalid model name"},
        {400, R"({"error":"input exceeds the context length"})", 400,
         "context_length_exceeded", "input exceeds the context length"},
        {401, R"({"error":"unauthorized","signin_url":"https://x/"})", 502,
         "backend_auth",
         "The ollama backend rejected the proxy's credentials."},
        {403, "", 502, "backend_auth",
         "The ollama backend rejected the proxy's credentials."},
        {404, "404 page not found", 502, "backend_bad_response", nullptr},
        {405, "405 method not allowed", 502, "backend_bad_response", nullptr},
        {408, R"({"error":"slow"})", 504, "backend_timeout", "slow"},
        {413, R"({"error":"big"})", 413, nullptr, "big"},
        {418, R"({"error":"tea"})", 502, "backend_error", "tea"},
        {429, R"({"error":"wait"})", 429, "backend_rate_limited", "wait"},
        {499, R"({"error":"gone"})", 502, "backend_error", "gone"},
        {500, R"({"error":"x"})", 500, "backend_error", "x"},
        {500, "panic:\x01 at\n10", 500, "backend_error", "panic:  at 10"},
        {500, "", 500, "backend_error", "upstream returned status 500"},
        {501, R"({"error":"no"})", 400, "unsupported_model", "no"},
        {502, "<html>gw.example.lan</html>", 502, "backend_error",
         "upstream returned status 502"},
        {503, "", 503, "backend_busy", "upstream returned status 503"},
        {504, "{}", 504, "backend_timeout", nullptr},
    };
    for (const auto &row : cases) {
        Client client(request_with(""));
        Reply reply;
        reply.status = row.status;
        reply.body = row.body;
        const Seen seen = talk(client, reply, 0);
        assert_false(seen.begun);
        assert_int_equal(api_error_status(seen.error), row.client_status);
        const char *code = api_error_code(seen.error);
        assert_string_equal(code == nullptr ? "" : code,
                            row.code == nullptr ? "" : row.code);
        if (row.message != nullptr) {
            assert_string_equal(seen.error.message.c_str(), row.message);
        }
    }
}

void endless_refusals_are_cut(void **)
{
    Client client(request_with(""));
    Reply reply;
    reply.status = 500;
    reply.body.assign(4 * kMaxErrorBody, 'x');
    const Seen seen = talk(client, reply, kWhole);
    assert_int_equal(api_error_status(seen.error), 500);
    assert_true(seen.error.message.size() <= 1024);
}

void reasoning_has_the_configured_name(void **)
{
    static const struct {
        ReasoningField field;
        const char *wanted;
    } cases[] = {
        {ReasoningField::Reasoning, R"({"content":"a","reasoning":"t"})"},
        {ReasoningField::ReasoningContent,
         R"({"content":"a","reasoning_content":"t"})"},
        {ReasoningField::Both,
         R"({"content":"a","reasoning":"t","reasoning_content":"t"})"},
    };
    for (const auto &row : cases) {
        Client client(request_with(""));
        client.config.reasoning_field = row.field;
        Reply reply;
        reply.content_type = "application/json; charset=utf-8";
        reply.body = R"({"message":{"content":"a","thinking":"t"},)"
                     R"("done":true})";
        const Seen seen = talk(client, reply, kWhole);
        const json::Ptr wanted = parse(row.wanted);
        json_object_set_new(wanted.get(), "role", json_string("assistant"));
        const json::Ptr body = parse(seen.body);
        const json_t *choice =
            json_array_get(json::get(body.get(), "choices"), 0);
        assert_json(json::get(choice, "message"), wanted.get(), "reasoning");
        // created_at was missing.
        int64_t created = 0;
        assert_true(json::get_int(body.get(), "created", created));
        assert_int_equal(created, kNow);
    }
}

// -- recordings ----------------------------------------------------------

// What a recording should become, where that is not a plain success.
struct Outcome {
    const char *name;
    int status; // 200: after the stream began
    const char *code;
    bool no_retry;
};

const Outcome *find_outcome(std::string_view name)
{
    static const Outcome outcomes[] = {
        {"chat_name_cloud", 502, "backend_auth", false},
        {"chat_invalid_utf8_runner_error_rendered", 200, "backend_error", true},
        {"chat_invalid_utf8_runner_error_rendered_ns", 502, "backend_error",
         true},
        {"chat_runner_error_first_rendered", 502, "backend_error", true},
        {"chat_runner_error_first_rendered_ns", 502, "backend_error", true},
        {"chat_midstream_error_native", 200, "backend_error", false},
        {"chat_midstream_error_native_ns", 500, "backend_error", false},
        {"chat_midstream_error_parser", 200, "backend_error", false},
        {"chat_midstream_error_parser_ns", 500, "backend_error", false},
        {"chat_token_repeat_abort", 200, "backend_error", true},
        {"chat_token_repeat_abort_ns", 502, "backend_error", true},
        {"chat_think_true_unsupported", 400, "", false},
        {"chat_tools_native_cut", 500, "backend_error", true},
        {"chat_ctx_truncate_false", 400, "context_length_exceeded", false},
        {"chat_ctx_truncate_false_stream_native", 400,
         "context_length_exceeded", false},
        {"chat_ctx_truncate_true_shift_false", 400, "context_length_exceeded",
         false},
        {"chat_image_no_vision", 400, "", false},
        {"chat_image_no_vision_native", 400, "", false},
        {"chat_image_bad_base64", 400, "", false},
        {"chat_format_xml", 500, "backend_error", false},
        {"chat_format_schema_bad_type", 400, "", false},
        {"chat_embed_model", 400, "", false},
        {"chat_busy_503", 503, "backend_busy", false},
        {"chat_debug_render_stream", 200, "backend_error", true},
        {"chat_load_failure", 500, "backend_error", false},
        {"chat_logprobs_tools_native_ns", 400, "", false},
        {"chat_model_missing", 404, "model_not_found", false},
        {"chat_model_missing_stream", 404, "model_not_found", false},
        {"chat_bad_name", 400, "", false},
        {"chat_think_badlevel", 400, "", false},
        {"wrong_method_chat", 502, "backend_bad_response", false},
    };
    for (const Outcome &outcome : outcomes) {
        if (name == outcome.name) {
            return &outcome;
        }
    }
    return nullptr;
}

// What one answer says, added up; from either side's bytes.
struct Sum {
    std::string content;
    std::string reasoning;
    std::string calls; // name and arguments, in order
    size_t logprobs = 0;
    std::string finish;
    int64_t prompt = 0;
    int64_t completion = 0;
};

void add_ollama(const json_t *line, Sum &sum)
{
    const json_t *message = json::get(line, "message");
    sum.content += json::string_of(json::get(message, "content"));
    sum.reasoning += json::string_of(json::get(message, "thinking"));
    const json_t *calls = json::get(message, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *function =
            json::get(json_array_get(calls, i), "function");
        sum.calls += json::string_of(json::get(function, "name"));
        sum.calls += json::dump(json::get(function, "arguments"));
    }
    sum.logprobs += json_array_size(json::get(line, "logprobs"));
    if (json_is_true(json_object_get(line, "done"))) {
        const std::string_view why =
            json::string_of(json::get(line, "done_reason"));
        sum.finish = why == "length"     ? "length"
                     : sum.calls.empty() ? "stop"
                                         : "tool_calls";
        json::get_int(line, "prompt_eval_count", sum.prompt);
        json::get_int(line, "eval_count", sum.completion);
    }
}

void add_openai(const json_t *object, Sum &sum)
{
    const json_t *choice = json_array_get(json::get(object, "choices"), 0);
    const json_t *message = json::get(choice, "delta");
    if (message == nullptr) {
        message = json::get(choice, "message");
    }
    sum.content += json::string_of(json::get(message, "content"));
    sum.reasoning += json::string_of(json::get(message, "reasoning"));
    const json_t *calls = json::get(message, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        assert_true(json_string_length(json::get(call, "id")) > 0);
        const json_t *function = json::get(call, "function");
        sum.calls += json::string_of(json::get(function, "name"));
        sum.calls += json::string_of(json::get(function, "arguments"));
    }
    const json_t *logprobs =
        json::get(json::get(choice, "logprobs"), "content");
    for (size_t i = 0; i < json_array_size(logprobs); i++) {
        const json_t *item = json_array_get(logprobs, i);
        assert_non_null(json_object_get(item, "bytes"));
        assert_true(json_is_array(json_object_get(item, "top_logprobs")));
    }
    sum.logprobs += json_array_size(logprobs);
    sum.finish += json::string_of(json::get(choice, "finish_reason"));
    const json_t *usage = json::get(object, "usage");
    json::get_int(usage, "prompt_tokens", sum.prompt);
    json::get_int(usage, "completion_tokens", sum.completion);
}

// The recorded tool calls hold an integer that jansson cannot: a shorter one
// in its place, on both sides, shows that it passed.
std::string narrowed(std::string text)
{
    constexpr std::string_view wide = "12345678901234567000";
    size_t at = 0;
    while ((at = text.find(wide)) != std::string::npos) {
        text.erase(at, 2);
    }
    return text;
}

Sum sum_of_reply(const std::string &reply)
{
    Sum sum;
    const std::string text = narrowed(reply);
    for (const std::string_view line : split_list(text, '\n')) {
        add_ollama(parse(line).get(), sum);
    }
    return sum;
}

Sum sum_of_answer(const Seen &seen)
{
    Sum sum;
    if (!seen.shape.sse) {
        add_openai(parse(seen.body).get(), sum);
        return sum;
    }
    const json::Ptr events = read_events(seen.body);
    const size_t count = json_array_size(events.get());
    for (size_t i = 0; i < count; i++) {
        const json_t *event = json_array_get(events.get(), i);
        const bool last = i + 1 == count;
        assert_int_equal(json_is_string(event), last);
        add_openai(event, sum);
    }
    return sum;
}

void check_recording(const std::string &name, const Seen &seen,
                     const std::string &reply)
{
    const Outcome *outcome = find_outcome(name);
    if (outcome != nullptr) {
        assert_int_equal(static_cast<int>(seen.status),
                         static_cast<int>(AdaptStatus::Failed));
        assert_int_equal(seen.begun, outcome->status == 200);
        if (!seen.begun) {
            assert_int_equal(api_error_status(seen.error), outcome->status);
        }
        const char *code = api_error_code(seen.error);
        assert_string_equal(code == nullptr ? "" : code, outcome->code);
        assert_int_equal(seen.error.no_retry, outcome->no_retry);
        // Never JSON inside JSON.
        assert_true(seen.error.message.find("{\"error") == std::string::npos);
        return;
    }
    if (seen.status != AdaptStatus::Done) {
        print_error("%s: %s\n", name.c_str(), seen.error.message.c_str());
        fail();
    }
    const Sum wanted = sum_of_reply(reply);
    const Sum sum = sum_of_answer(seen);
    assert_true(sum.content == wanted.content);
    assert_true(sum.reasoning == wanted.reasoning);
    assert_string_equal(narrowed(sum.calls).c_str(), wanted.calls.c_str());
    assert_int_equal(sum.logprobs, wanted.logprobs);
    assert_string_equal(sum.finish.c_str(), wanted.finish.c_str());
    assert_int_equal(sum.prompt, wanted.prompt);
    assert_int_equal(sum.completion, wanted.completion);
    assert_int_equal(seen.usage.prompt, wanted.prompt);
    assert_int_equal(seen.usage.completion, wanted.completion);
}

void run_recording(const json_t *record)
{
    const std::string name(json::string_of(json::get(record, "name")));
    Reply reply;
    int64_t status = 0;
    json::get_int(record, "status", status);
    reply.status = static_cast<int>(status);
    reply.content_type = json::string_of(
        json::get(json::get(record, "headers"), "Content-Type"));
    reply.body = json::string_of(json::get(record, "body"));
    bool streams = false;
    json::get_bool(json::get(json::get(record, "request"), "body"), "stream",
                   streams);
    const std::string request = request_with(
        streams ? R"("stream":true,"stream_options":{"include_usage":true})"
                : "");
    Client whole_client(request);
    const Seen whole = talk(whole_client, reply, kWhole);
    check_recording(name, whole, reply.body);
    for (size_t cut = 0; cut < reply.body.size(); cut++) {
        Client client(request);
        const Seen seen = talk(client, reply, cut);
        assert_string_equal(without_ids(seen.body).c_str(),
                            without_ids(whole.body).c_str());
        assert_string_equal(seen.error.message.c_str(),
                            whole.error.message.c_str());
    }
}

void recorded_answers_translate_at_every_cut(void **)
{
    const std::string text = read_file("ollama/recorded.jsonl");
    size_t count = 0;
    for (const std::string_view line : split_list(text, '\n')) {
        const json::Ptr record = parse(line);
        const json_t *request = json::get(record.get(), "request");
        if (json::string_of(json::get(request, "path")) == "/api/chat") {
            run_recording(record.get());
            count++;
        }
    }
    assert_true(count >= 45);
}

void recorded_lines_pass_both_ways(void **)
{
    const std::string text = read_file("ollama/recorded.jsonl");
    const std::string_view before =
        R"("message":{"role":"assistant","content":")";
    const std::string_view after = "\"},\"done\":false}";
    size_t count = 0;
    for (const std::string_view record_text : split_list(text, '\n')) {
        const json::Ptr record = parse(record_text);
        const std::string_view body =
            json::string_of(json::get(record.get(), "body"));
        for (const std::string_view line : split_list(body, '\n')) {
            const size_t at = line.find(before);
            if (at == std::string_view::npos || !ends_with(line, after)) {
                continue;
            }
            const size_t begin = at + before.size();
            assert_both_ways(
                line.substr(begin, line.size() - after.size() - begin));
            count++;
        }
    }
    assert_true(count > 80);
}

std::string many_logprobs(size_t count)
{
    std::string out = "[";
    for (size_t i = 0; i < count; i++) {
        out += i == 0 ? "" : ",";
        out += R"({"token":"a","logprob":-0.5,"bytes":[97]})";
    }
    return out + "]";
}

std::string line_with_logprobs(size_t count, const char *end)
{
    return R"({"created_at":"2026-09-01T08:31:00Z","message":)"
           R"({"role":"assistant","content":"b"},"logprobs":)" +
           many_logprobs(count) + "," + end + "}\n";
}

const std::string kLastLine = R"("done":true,"done_reason":"stop")";
const std::string kPlainLine = R"({"created_at":"2026-09-01T08:31:00Z",)"
                               R"("message":{"role":"assistant",)"
                               R"("content":"a"},"done":false})"
                               "\n";

void dense_requests_start_long(void **)
{
    const std::string text(kLongWork, 'x');
    static const struct {
        const char *what;
        std::string members;
        bool is_long;
    } cases[] = {
        {"small", R"("temperature":1)", false},
        {"long string", R"("stop":")" + text + "\"", false},
        {"dense", R"("x":)" + many_logprobs(kLongWork / 32), true},
    };
    for (const auto &row : cases) {
        Client client(request_with(row.members));
        const std::vector<Field> fields;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_int_equal(adapter->starts_long(client.request(fields)),
                         row.is_long);
    }
}

void long_lines_are_put_off_in_their_order(void **)
{
    const std::string long_line = line_with_logprobs(1000, R"("done":false)");
    const std::string last = line_with_logprobs(1000, kLastLine.c_str());
    Reply reply;
    reply.body = kPlainLine + long_line + kPlainLine + long_line + last;
    Client client(request_with(R"("stream":true)"));
    const Seen whole = talk(client, reply, kWhole);
    assert_true(whole.status == AdaptStatus::Done);
    assert_int_equal(whole.put_off, 3);
    std::string order;
    for (size_t at = whole.body.find("\"content\":\""); at != std::string::npos;
         at = whole.body.find("\"content\":\"", at + 1)) {
        order += whole.body[at + 11];
    }
    assert_string_equal(order.c_str(), "ababb");
    const size_t step = reply.body.size() / 50;
    for (size_t cut = 1; cut < reply.body.size(); cut += step) {
        Client again(request_with(R"("stream":true)"));
        const Seen seen = talk(again, reply, cut);
        assert_true(seen.status == AdaptStatus::Done);
        assert_int_equal(seen.put_off, 3);
        assert_int_equal(seen.body.size(), whole.body.size());
    }
}

void a_long_line_may_be_the_last_without_end(void **)
{
    Reply reply;
    reply.body = line_with_logprobs(1000, R"("done":false)");
    reply.body.pop_back(); // its LF
    Client client(request_with(R"("stream":true)"));
    const Seen seen = talk(client, reply, kWhole);
    assert_true(seen.status == AdaptStatus::Failed);
    assert_int_equal(seen.put_off, 1);
    assert_true(seen.begun);
    assert_true(seen.error.no_retry);
}

void long_answers_and_refusals_are_put_off(void **)
{
    Reply reply;
    reply.body = line_with_logprobs(1000, kLastLine.c_str());
    Client client(request_with(""));
    const Seen whole = talk(client, reply, kWhole);
    assert_true(whole.status == AdaptStatus::Done);
    assert_int_equal(whole.put_off, 1);
    const json::Ptr answer = parse(whole.body);
    const json_t *choice =
        json_array_get(json::get(answer.get(), "choices"), 0);
    const json_t *logprobs =
        json::get(json::get(choice, "logprobs"), "content");
    assert_int_equal(json_array_size(logprobs), 1000);

    reply.status = 400;
    reply.body = R"({"error":")" + std::string(kLongWork, 'x') + "\"}";
    const Seen refused = talk(client, reply, kWhole);
    assert_true(refused.status == AdaptStatus::Failed);
    assert_int_equal(refused.put_off, 1);
    assert_int_equal(api_error_status(refused.error), 400);
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_translate_at_every_cut),
        cmocka_unit_test(bad_requests_name_the_member),
        cmocka_unit_test(bad_messages_name_the_place),
        cmocka_unit_test(members_become_ollamas),
        cmocka_unit_test(truncate_follows_client_then_settings),
        cmocka_unit_test(dropped_members_are_listed),
        cmocka_unit_test(token_of_the_backend_is_sent),
        cmocka_unit_test(long_strings_are_neither_copied_nor_changed),
        cmocka_unit_test(long_images_are_neither_copied_nor_changed),
        cmocka_unit_test(long_tool_arguments_become_an_object),
        cmocka_unit_test(oversized_skeletons_are_refused),
        cmocka_unit_test(json_that_cannot_be_translated_is_refused),
        cmocka_unit_test(both_ways_through_a_line_are_equal),
        cmocka_unit_test(both_ways_through_the_end_are_equal),
        cmocka_unit_test(cut_lines_never_pass),
        cmocka_unit_test(an_error_before_any_output_keeps_its_status),
        cmocka_unit_test(a_context_that_runs_out_in_a_stream_is_named),
        cmocka_unit_test(what_follows_done_is_ignored),
        cmocka_unit_test(blank_lines_and_crlf_are_lines_too),
        cmocka_unit_test(a_line_nobody_understands_fails),
        cmocka_unit_test(a_line_without_end_fails),
        cmocka_unit_test(unusable_heads_fail),
        cmocka_unit_test(refusals_become_ours),
        cmocka_unit_test(endless_refusals_are_cut),
        cmocka_unit_test(reasoning_has_the_configured_name),
        cmocka_unit_test(recorded_answers_translate_at_every_cut),
        cmocka_unit_test(recorded_lines_pass_both_ways),
        cmocka_unit_test(dense_requests_start_long),
        cmocka_unit_test(long_lines_are_put_off_in_their_order),
        cmocka_unit_test(a_long_line_may_be_the_last_without_end),
        cmocka_unit_test(long_answers_and_refusals_are_put_off),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
