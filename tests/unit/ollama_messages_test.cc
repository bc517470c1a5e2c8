// What becomes of a chat's messages: images and sounds, tools in both
// directions, and what clients of older days send.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/json/value.h"

#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include <jansson.h>

#include "cmocka.hpp"
#include "ollama_talk.h"

using namespace llmproxy;

namespace
{

constexpr Maker kMake = make_ollama_chat;

std::string request_with(const std::string &messages)
{
    return R"({"model":"ollama:m","messages":[)" + messages + "]}";
}

// The messages that Ollama gets, as they are written.
std::string sent_text(Client &client)
{
    ApiError err;
    const std::unique_ptr<Adapter> adapter = kMake();
    if (!client.start(*adapter, err)) {
        print_error("%s %s\n", err.message.c_str(), err.param.c_str());
        fail();
    }
    const std::string body = client.upstream_body();
    const std::string before = R"({"model":"m","messages":)";
    const size_t end = body.find(R"(,"stream":false,"truncate":false})");
    assert_true(starts_with(body, before));
    assert_true(end != std::string::npos);
    return body.substr(before.size(), end - before.size());
}

void assert_sent(const std::string &messages, const std::string &wanted)
{
    Client client(request_with(messages));
    assert_json(parse(sent_text(client)).get(), parse("[" + wanted + "]").get(),
                messages.c_str());
}

void assert_refused(const std::string &messages, const char *param,
                    const char *message)
{
    Client client(request_with(messages));
    const Seen seen = talk(kMake, client, Reply(), kWhole);
    if (!seen.refused) {
        print_error("%s\n", messages.c_str());
    }
    assert_true(seen.refused);
    assert_int_equal(api_error_status(seen.error), 400);
    assert_string_equal(seen.error.param.c_str(), param);
    if (message != nullptr) {
        assert_string_equal(seen.error.message.c_str(), message);
    }
}

std::string image_part(const std::string &url)
{
    return R"({"role":"user","content":[{"type":"text","text":"a"},)"
           R"({"type":"image_url","image_url":{"url":")" +
           url + "\"}}]}";
}

std::string audio_part(const std::string &data)
{
    return R"({"role":"user","content":[{"type":"text","text":"a"},)"
           R"({"type":"input_audio","input_audio":{"data":")" +
           data + R"(","format":"wav"}}]})";
}

const std::string kMany(4000, 'A'); // longer than what becomes a tree

void images_that_are_none_are_refused_at_any_size(void **)
{
    static const char *const bad[] = {
        "!",        "AAA",     "A",    "AA=",      "====",         "AA=A",
        "=",        "AAAA===", "A-_A", "\xc3\xa9", R"(\u00e9AAA)", R"(\"AAA)",
        "AAAA=A==",
    };
    for (const char *text : bad) {
        for (const std::string &more : {std::string(), kMany}) {
            const std::string data = more + text;
            for (const char *head :
                 {"data:image/png;base64,", R"(data:image\/webp;base64,)"}) {
                assert_refused(image_part(head + data),
                               "messages[0].content[1]", "invalid image input");
            }
            assert_refused(audio_part(data), "messages[0].content[1]",
                           "invalid audio input");
        }
    }
    for (const char *data : {"", " ", R"(\n)"}) {
        assert_refused(image_part(std::string("data:;base64,") + data),
                       "messages[0].content[1]", "invalid image input");
    }
    // White space only, and more than goes into a tree.
    assert_refused(image_part("data:;base64," + std::string(4000, ' ')),
                   "messages[0].content[1]", "invalid image input");
    for (const std::string &more : {std::string(), kMany}) {
        assert_refused(image_part(more + kMany), "messages[0].content[1]",
                       "invalid image input");
        assert_refused(image_part("data:image/gif;base64," + more),
                       "messages[0].content[1]", "invalid image input");
    }
    assert_refused(R"({"role":"user","content":[{"type":"input_audio",)"
                   R"("input_audio":{"format":"wav"}}]})",
                   "messages[0].content[0]", "invalid audio input");
}

// MIME breaks lines, PHP writes "\/", .NET "\u002B".
void images_lose_their_blanks(void **)
{
    static const struct {
        const char *spelled;
        const char *meant;
    } cases[] = {
        {"AAAA", "AAAA"},
        {R"(AA\nAA)", "AAAA"},
        {R"(\r\n\tA A AA\f)", "AAAA"},
        {R"(AA\u000aAA\u0020)", "AAAA"},
        {R"(A\/\u002B\u002f)", "A/+/"},
        {R"(AA= =\n)", "AA=="},
        {R"(AA\u003d\u003D)", "AA=="},
    };
    for (const auto &row : cases) {
        for (const std::string &more : {std::string(), kMany}) {
            const std::string wanted =
                R"({"role":"user","content":"a","images":[")" + more +
                row.meant + "\"]}";
            assert_sent(
                image_part("data:image/jpeg;base64," + more + row.spelled),
                wanted);
            assert_sent(audio_part(more + row.spelled), wanted);
        }
    }
}

void large_images_stay_where_they_are(void **)
{
    const std::string escaped = kMany + R"(\/\/\/\/)";
    const std::string messages = image_part("data:image/png;base64," + kMany) +
                                 "," + audio_part(escaped);
    Client client(request_with(messages));
    const std::string before = client.body;
    sent_text(client);
    assert_true(uncopied(client) == kMany.size() + escaped.size());
    assert_true(client.body == before);
}

// The request is translated once more: for the next prompt, or without
// reasoning.
void blanks_may_be_taken_twice(void **)
{
    std::string data;
    for (int i = 0; i < 100; i++) {
        data += std::string(76, 'A' + i % 26) + R"(\r\n)";
    }
    Client client(request_with(image_part("data:image/png;base64," + data)));
    const std::string first = sent_text(client);
    client.upstream = UpstreamRequest();
    assert_string_equal(sent_text(client).c_str(), first.c_str());
    assert_int_equal(first.find(R"(\r)"), std::string::npos);
    assert_true(uncopied(client) == 7600);
}

void roles_of_older_days_are_translated(void **)
{
    assert_sent(R"({"role":"Developer","content":"x"},)"
                R"({"role":"function","name":"f","content":"4 C"})",
                R"({"role":"system","content":"x"},)"
                R"({"role":"tool","content":"4 C","tool_name":"f"})");
    assert_sent(R"({"role":"assistant","content":null,"function_call":)"
                R"({"name":"f","arguments":"{\"a\":1}"}},)"
                R"({"role":"assistant","content":"x","tool_calls":[)"
                R"({"id":"1","function":{"name":"g"}}],"function_call":)"
                R"({"name":"f","arguments":""}})",
                R"({"role":"assistant","content":"","tool_calls":[{"function":)"
                R"({"index":0,"name":"f","arguments":{"a":1}}}]},)"
                R"({"role":"assistant","content":"x","tool_calls":[{"id":"1",)"
                R"("function":{"index":0,"name":"g","arguments":{}}},)"
                R"({"function":{"index":1,"name":"f","arguments":{}}}]})");
    assert_sent(R"({"role":"assistant","content":"x","function_call":null})",
                R"({"role":"assistant","content":"x"})");
    assert_refused(R"({"role":"assistant","function_call":"auto"})",
                   "messages[0].function_call.name", nullptr);
    assert_refused(R"({"role":"assistant","function_call":{"name":"f",)"
                   R"("arguments":"[]"}})",
                   "messages[0].function_call.arguments",
                   "invalid tool call arguments");
}

std::string call(const std::string &id, const std::string &name,
                 const std::string &arguments)
{
    return R"({"role":"assistant","content":"","tool_calls":[{"id":")" + id +
           R"(","type":"function","function":{"name":")" + name +
           R"(","arguments":)" + arguments + "}}]}";
}

std::string called(const std::string &id, const std::string &name,
                   const std::string &arguments)
{
    return R"({"role":"assistant","content":"","tool_calls":[{"id":")" + id +
           R"(","function":{"index":0,"name":")" + name + R"(","arguments":)" +
           arguments + "}}]}";
}

void the_last_of_equal_ids_names_the_tool(void **)
{
    const std::string answer =
        R"({"role":"tool","tool_call_id":"1","content":"x")";
    assert_sent(
        call("1", "f", "\"\"") + "," + answer + "}," + call("1", "g", "\"\"") +
            "," + answer + "}," + answer + R"(,"name":"h"},)" +
            R"({"role":"tool","tool_call_id":"2","content":"x"})",
        called("1", "f", "{}") + "," + answer + R"(,"tool_name":"g"},)" +
            called("1", "g", "{}") + "," + answer + R"(,"tool_name":"g"},)" +
            answer + R"(,"tool_name":"h"},)" +
            R"({"role":"tool","tool_call_id":"2","content":"x"})");
}

// What Ollama has written in round one, it gets back in round two.
void wide_integers_come_back_as_they_went(void **)
{
    const std::string arguments =
        R"({"id":12345678901234567000,"low":-99999999999999999999,)"
        R"("list":[18446744073709551616,9223372036854775807],)"
        R"("text":"12345678901234567000 \"12345678901234567000\"",)"
        R"("real":0.12345678901234568,"large":1.7976931348623157e308})";
    Client first(request_with(R"({"role":"user","content":"x"})"));
    Reply reply;
    reply.body = R"({"message":{"role":"assistant","content":"",)"
                 R"("tool_calls":[{"id":"1","function":{"name":"f",)"
                 R"("arguments":)" +
                 arguments + R"(}}]},"done":true,"done_reason":"stop"})";
    const Seen seen = talk(kMake, first, reply, kWhole);
    const json::Ptr answer = parse(seen.body);
    const json_t *choice =
        json_array_get(json::get(answer.get(), "choices"), 0);
    const json_t *calls = json::get(json::get(choice, "message"), "tool_calls");
    const json_t *function = json::get(json_array_get(calls, 0), "function");
    const json_t *text = json::get(function, "arguments");
    assert_true(json::string_of(text) == arguments);

    for (const std::string &filler : {std::string(), kMany}) {
        std::string again(json::string_of(text));
        again.insert(1, R"("filler":")" + filler + "\",");
        const json::Ptr quoted(json_string(again.c_str()));
        Client second(request_with(call("1", "f", json::dump(quoted.get())) +
                                   "," + call("2", "g", R"("{\"a\":1}")")));
        assert_string_equal(sent_text(second).c_str(),
                            ("[" + called("1", "f", again) + "," +
                             called("2", "g", R"({"a":1})") + "]")
                                .c_str());
    }
    for (const char *bad :
         {R"("{\"a\":12345678901234567000")", R"("12345678901234567000")",
          R"("{\"a\":012345678901234567000}")", R"("{\"a\":1e999}")"}) {
        assert_refused(call("1", "f", bad),
                       "messages[0].tool_calls[0].function.arguments",
                       "invalid tool call arguments");
    }
}

void nothing_is_lost_of_a_real(void **)
{
    const std::string members =
        R"("temperature":0.7,"top_p":0.12345678901234568,"tools":[{"type":)"
        R"("function","function":{"name":"f","parameters":{"type":"object",)"
        R"("properties":{"a":{"minimum":-1.7976931348623157e308,)"
        R"("multipleOf":0.1}}}}}])";
    Client client(R"({"model":"ollama:m","messages":[{"role":"user",)"
                  R"("content":"x"}],)" +
                  members + "}");
    ApiError err;
    const std::unique_ptr<Adapter> adapter = kMake();
    assert_true(client.start(*adapter, err));
    const std::string body = client.upstream_body();
    for (const char *text :
         {R"("temperature":0.7,)", R"("top_p":0.12345678901234568})",
          R"("minimum":-1.7976931348623157e308,)", R"("multipleOf":0.1})"}) {
        assert_non_null(strstr(body.c_str(), text));
    }
}

std::string nested(size_t depth)
{
    return R"({"a":)" + std::string(depth - 1, '[') +
           std::string(depth - 1, ']') + "}";
}

std::string request_with_schema(size_t depth)
{
    return R"({"model":"ollama:m","messages":[{"role":"user","content":"x"}],)"
           R"("tools":[{"type":"function","function":{"name":"f",)"
           R"("parameters":)" +
           nested(depth - 4) + "}}]}";
}

void requests_may_be_2048_deep(void **)
{
    Client client(request_with_schema(2048));
    ApiError err;
    const std::unique_ptr<Adapter> adapter = kMake();
    assert_true(client.start(*adapter, err));
    assert_true(client.upstream_body().find(nested(2044)) != std::string::npos);

    json::BodyScanner scanner;
    assert_false(scanner.feed(request_with_schema(2049)));
    assert_true(scanner.error().kind == json::ScanError::Kind::TooDeep);

    // A string of JSON is a document of its own.
    const json::Ptr deep(json_string(nested(2048).c_str()));
    Client again(request_with(call("1", "f", json::dump(deep.get()))));
    assert_true(sent_text(again).find(nested(2048)) != std::string::npos);
    const json::Ptr deeper(json_string(nested(2049).c_str()));
    assert_refused(call("1", "f", json::dump(deeper.get())),
                   "messages[0].tool_calls[0].function.arguments",
                   "invalid tool call arguments");
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_that_are_none_are_refused_at_any_size),
        cmocka_unit_test(images_lose_their_blanks),
        cmocka_unit_test(large_images_stay_where_they_are),
        cmocka_unit_test(blanks_may_be_taken_twice),
        cmocka_unit_test(roles_of_older_days_are_translated),
        cmocka_unit_test(the_last_of_equal_ids_names_the_tool),
        cmocka_unit_test(wide_integers_come_back_as_they_went),
        cmocka_unit_test(nothing_is_lost_of_a_real),
        cmocka_unit_test(requests_may_be_2048_deep),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
