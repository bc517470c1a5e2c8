// Runs requests for chats through the adapter for Ollama: what Ollama is asked,
// and what is refused, with the place in the request.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

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
        {R"("stop":["a",5])", "stop[1]", "invalid_type"},
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
        {R"("parallel_tool_calls":1)", "parallel_tool_calls", "invalid_type"},
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
        {R"("modalities":["text","audio"])", "modalities[1]",
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
        Client client(chat_with(row.members));
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
        Client client(chat_with(row.members));
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
        Client client(chat_with(row.members));
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
    std::string members =
        R"("store":false,"metadata":{},"user":"",)"
        R"("verbosity":"low","tool_choice":"required",)"
        R"("parallel_tool_calls":false,"web_search_options":{},)"
        R"("bad name":1,"x\r\ny: z":1)";
    Client client(chat_with(members));
    ApiError err;
    std::unique_ptr<Adapter> adapter = kMake();
    assert_true(client.start(*adapter, err));
    assert_string_equal(adapter->shape().extra.text().c_str(),
                        "X-Proxy-Dropped-Params: tool_choice,"
                        "parallel_tool_calls,web_search_options,verbosity\r\n");

    static const struct {
        const char *members;
        const char *listed; // empty = no such header
    } cases[] = {
        // A switch is an instruction in both positions...
        {R"("parallel_tool_calls":false)", "parallel_tool_calls"},
        {R"("enable_thinking":false)", "enable_thinking"},
        {R"("store":true,"logit_bias":{})", "store"},
        {R"("service_tier":"flex","verbosity":"high")",
         "service_tier,verbosity"},
        // ...but for the one that it has anyway.
        {R"("parallel_tool_calls":true,"store":false)", ""},
        {R"("service_tier":"auto","verbosity":"medium")", ""},
        {R"("x":null,"y":[],"z":{},"a":"")", ""},
        {R"("zero":0)", "zero"},
        {R"("reasoning":{"effort":"low","enabled":true,"exclude":true,)"
         R"("max_tokens":9,"summary":"auto"})",
         "reasoning.enabled,reasoning.exclude,reasoning.max_tokens,"
         "reasoning.summary"},
        {R"("reasoning":{"enabled":false,"exclude":false,"summary":null})",
         "reasoning.enabled"},
    };
    for (const auto &row : cases) {
        Client one(chat_with(row.members));
        adapter = kMake();
        assert_true(one.start(*adapter, err));
        const std::string text = row.listed;
        assert_string_equal(
            adapter->shape().extra.text().c_str(),
            text.empty()
                ? ""
                : ("X-Proxy-Dropped-Params: " + text + "\r\n").c_str());
    }

    members.clear();
    std::string wanted = "X-Proxy-Dropped-Params: ";
    for (char c = 'a'; c <= 'z'; c++) {
        members += members.empty() ? "" : ",";
        members += std::string("\"x") + c + "\":1";
        if (c <= 'p') {
            wanted += std::string("x") + c + ",";
        }
    }
    Client many(chat_with(members));
    adapter = kMake();
    assert_true(many.start(*adapter, err));
    assert_string_equal(adapter->shape().extra.text().c_str(),
                        (wanted + "...\r\n").c_str());
}

void a_model_without_reasoning_is_asked_once_more(void **)
{
    static const struct {
        const char *members;
        bool again;
        const char *listed;
    } cases[] = {
        {R"("reasoning_effort":"low")", true, "reasoning_effort"},
        {R"("reasoning":{"effort":"low"})", true, "reasoning"},
        {R"("reasoning":{"effort":"low"},"reasoning_effort":"high")", true,
         "reasoning,reasoning_effort"},
        {R"("reasoning":{"effort":""},"reasoning_effort":"high")", true,
         "reasoning_effort"},
        {R"("think":true,"reasoning":{"effort":"low"},)"
         R"("reasoning_effort":"high")",
         false, ""},
        {R"("think":"low")", false, ""},
    };
    for (const auto &row : cases) {
        Client client(chat_with(row.members));
        client.config.ollama_relax_think = true;
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        ReplyHead head;
        head.status = 400;
        std::string out;
        const AdaptStatus status = feed(
            *adapter, head, R"({"error":"\"m\" does not support thinking"})",
            kWhole, kWhole, out);
        assert_true(status ==
                    (row.again ? AdaptStatus::Again : AdaptStatus::Failed));
        if (!row.again) {
            continue;
        }
        client.upstream = UpstreamRequest();
        assert_true(client.start(*adapter, err));
        const json::Ptr sent = parse(client.upstream_body());
        assert_null(json_object_get(sent.get(), "think"));
        assert_string_equal(
            adapter->shape().extra.text().c_str(),
            (std::string("X-Proxy-Dropped-Params: ") + row.listed + "\r\n")
                .c_str());
    }
}

void token_of_the_backend_is_sent(void **)
{
    Client client(chat_with(R"("stream":true)"));
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
        Client client(chat_with(row.members));
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

void dense_requests_start_long(void **)
{
    const std::string text(kLongWork, 'x');
    std::string zeros = "[0";
    while (zeros.size() < kLongWork) {
        zeros += ",0";
    }
    const struct {
        const char *what;
        std::string members;
        bool is_long;
    } cases[] = {
        {"small", R"("temperature":1)", false},
        {"long string", R"("stop":")" + text + "\"", false},
        {"dense", R"("x":)" + zeros + "]", true},
        // It may be an image, which is looked at.
        {"very long string",
         R"("stop":")" + std::string(size_t{1} << 20, 'x') + "\"", true},
    };
    for (const auto &row : cases) {
        Client client(chat_with(row.members));
        const std::vector<Field> fields;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_int_equal(adapter->starts_long(client.request(fields)),
                         row.is_long);
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_requests_name_the_member),
        cmocka_unit_test(bad_messages_name_the_place),
        cmocka_unit_test(members_become_ollamas),
        cmocka_unit_test(truncate_follows_client_then_settings),
        cmocka_unit_test(dropped_members_are_listed),
        cmocka_unit_test(a_model_without_reasoning_is_asked_once_more),
        cmocka_unit_test(token_of_the_backend_is_sent),
        cmocka_unit_test(long_strings_are_neither_copied_nor_changed),
        cmocka_unit_test(long_images_are_neither_copied_nor_changed),
        cmocka_unit_test(long_tool_arguments_become_an_object),
        cmocka_unit_test(oversized_skeletons_are_refused),
        cmocka_unit_test(json_that_cannot_be_translated_is_refused),
        cmocka_unit_test(dense_requests_start_long),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
