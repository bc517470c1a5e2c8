// The two ways of a chat request to Ollama: spliced from the client's bytes,
// and through a tree. They must send the same JSON, and the first must not
// take what only the second can judge.

#include "llm_proxy/adapt/adapter.h"

#include <cstdlib>
#include <cstring>
#include <iterator>
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

// What is sent, and whether the messages are the client's own bytes: a blank
// that no tree keeps shows it.
struct Sent {
    bool accepted = false;
    bool spliced = false;
    std::string error;
    std::string body;
};

Sent send(Client &client)
{
    const std::unique_ptr<Adapter> adapter = make_ollama_chat();
    Sent sent;
    ApiError err;
    sent.accepted = client.start(*adapter, err);
    if (!sent.accepted) {
        sent.error = api_error_body(err);
        return sent;
    }
    sent.body = client.upstream_body();
    sent.spliced = sent.body.find(R"("messages":[ )") != std::string::npos;
    assert_string_equal(client.upstream.path.c_str(), "/api/chat");
    return sent;
}

std::string request(std::string members)
{
    const std::string array = R"("messages":[)";
    const size_t at = members.find(array);
    if (at != std::string::npos) {
        members.insert(at + array.size(), " ");
    }
    return R"({"model":"ollama:m \"1\"",)" + members + '}';
}

// An empty `user` means nothing and is not plain.
Sent send_slowly(const std::string &members)
{
    Client client(request(members + R"(,"user":"")"));
    const Sent sent = send(client);
    assert_false(sent.spliced);
    return sent;
}

void assert_plain(const std::string &members)
{
    Client client(request(members));
    const Sent fast = send(client);
    const Sent slow = send_slowly(members);
    if (!fast.spliced || !slow.accepted) {
        print_error("not plain: %s %s\n", members.c_str(), slow.error.c_str());
    }
    assert_true(fast.spliced);
    assert_true(slow.accepted);
    assert_json(parse(fast.body).get(), parse(slow.body).get(),
                members.c_str());
}

void assert_not_plain(const std::string &members)
{
    Client client(request(members));
    const Sent sent = send(client);
    if (sent.spliced) {
        print_error("taken for plain: %s\n", members.c_str());
    }
    assert_false(sent.spliced);
}

const std::string kHello = R"("messages":[{"role":"user","content":"hi"}])";

void plain_requests_are_spliced(void **)
{
    for (
        const char *members : {
            R"("stream":true)",
            R"("stream":false,"temperature":0.7,"top_p":1)",
            R"("temperature":-0.123456789012)",
            R"("seed":-42,"max_tokens":256)",
            R"("max_tokens":1,"max_completion_tokens":2)",
            R"("max_completion_tokens":2,"max_tokens":1)",
            R"("frequency_penalty":0,"presence_penalty":1.50)",
            R"("stream":true,"stream_options":{"include_usage":true})",
            R"("stream" : true , "stream_options" : { "include_usage" : false })",
        }) {
        assert_plain(kHello + ',' + members);
        assert_plain(members + (',' + kHello));
    }
}

void plain_messages_go_as_they_are(void **)
{
    for (const char *messages : {
             R"([{"content":"b\n\"\\\u0041\u2028\/","role":"system"}])",
             R"([{"role":"system","content":""},{"role":"user","content":"a"},)"
             R"({"role":"assistant","content":"\u0000"}])",
             "[ {\n\"role\"\t:\r\"user\" , \"content\" : \"\xe6\x97\xa5 \x7f\" "
             "}\n ]",
         }) {
        assert_plain(std::string(R"("messages":)") + messages);
    }
    Client client(request(kHello));
    assert_string_equal(send(client).body.c_str(),
                        R"({"model":"m \"1\"","messages":)"
                        R"([ {"role":"user","content":"hi"}],)"
                        R"("stream":false,"truncate":false})");
}

void all_else_is_judged_by_the_tree(void **)
{
    for (const char *members : {
             R"("temperature":null)",
             R"("temperature":"1")",
             R"("temperature":1e2)",
             R"("temperature":0.12345678901234567)",
             R"("temperature":true)",
             R"("seed":1.0)",
             R"("seed":12345678901234567890)",
             R"("max_tokens":0)",
             R"("max_tokens":-1)",
             R"("max_tokens":5.0)",
             R"("stream":null)",
             R"("stream_options":{})",
             R"("stream_options":{"include_usage":1})",
             R"("stream_options":{"include_usage":true,"x":1})",
             R"("stop":"a")",
             R"("n":1)",
             R"("tools":[])",
             R"("user":"u")",
             R"("num_ctx":512)",
             R"("\u0073eed":1)",
         }) {
        assert_not_plain(kHello + ',' + members);
    }
    for (const char *messages : {
             R"(null)",
             R"([])",
             R"({})",
             R"(["a"])",
             R"([{}])",
             R"([{"role":"user"}])",
             R"([{"content":"a"}])",
             R"([{"role":"user","content":null}])",
             R"([{"role":"user","content":[]}])",
             R"([{"role":"User","content":"a"}])",
             R"([{"role":"developer","content":"a"}])",
             R"([{"role":"tool","content":"a"}])",
             R"([{"role":"us\u0065r","content":"a"}])",
             R"([{"role":"user","content":"a","name":"b"}])",
             R"([{"role":"user","content":"a","content":"b"}])",
             R"([{"role":"user","role":"user"}])",
             R"([{"role":"user","content":"\ud800"}])",
         }) {
        assert_not_plain(std::string(R"("messages":)") + messages);
    }
    assert_not_plain(R"("seed":1)");
}

void what_an_operator_adds_takes_the_tree(void **)
{
    Client with_options(request(kHello));
    with_options.config.ollama_default_options = parse(R"({"top_k":5})");
    assert_non_null(strstr(send(with_options).body.c_str(), "\"top_k\":5"));

    Client with_keep_alive(request(kHello));
    with_keep_alive.config.ollama_keep_alive_ms = 60000;
    assert_non_null(strstr(send(with_keep_alive).body.c_str(), "keep_alive"));

    Client truncating(request(kHello));
    truncating.config.ollama_truncate = true;
    const Sent sent = send(truncating);
    assert_true(sent.spliced);
    assert_null(strstr(sent.body.c_str(), "truncate"));
}

void large_requests_are_left_to_the_helper(void **)
{
    Client client(request(R"("messages":[{"role":"user","content":")" +
                          std::string(kLongWork, 'a') + R"("}])"));
    const std::unique_ptr<Adapter> adapter = make_ollama_chat();
    ApiError err;
    assert_true(client.start(*adapter, err));
    // The tree's way has cut it at the long string, not at the messages.
    assert_true(starts_with(client.upstream.body[1], "aaaa"));
}

// Requests put together from plain and other bits: whatever they are, both
// ways refuse alike or send the same.
void both_ways_of_a_request_are_equal(void **)
{
    static const char *const bits[] = {
        R"("temperature":0.5)",
        R"("top_p":1e-3)",
        R"("seed":7)",
        R"("max_tokens":10)",
        R"("max_completion_tokens":20)",
        R"("logprobs":"x")",
        R"("presence_penalty":-2)",
        R"("frequency_penalty":"x")",
        R"("stream":true)",
        R"("stream_options":{"include_usage":true})",
        R"("stop":["a"])",
        R"("unknown":{"role":"user","content":[1,2]})",
    };
    static const char *const messages[] = {
        R"({"role":"user","content":"a\tb"})",
        R"({"content":"\ud83d\ude00","role":"assistant"})",
        R"({"role":"system","content":"}],\"messages\":["})",
        R"({"role":"user","content":"x","name":"n"})",
        R"({"role":"nobody","content":"x"})",
    };
    srandom(11);
    size_t spliced = 0;
    for (int round = 0; round < 5000; round++) {
        std::string members = R"("messages":[)";
        const long count = 1 + random() % 3;
        for (long i = 0; i < count; i++) {
            members += i > 0 ? "," : "";
            members += messages[random() % 8 == 0 ? random() % 5 : i];
        }
        members += ']';
        for (size_t i = 0; i < std::size(bits); i++) {
            if (random() % 5 == 0) {
                members +=
                    std::string(random() % 2 == 0 ? "," : " , ") + bits[i];
            }
        }
        Client client(request(members));
        const Sent fast = send(client);
        const Sent slow = send_slowly(members);
        assert_int_equal(fast.accepted, slow.accepted);
        assert_string_equal(fast.error.c_str(), slow.error.c_str());
        if (fast.accepted) {
            assert_json(parse(fast.body).get(), parse(slow.body).get(),
                        members.c_str());
        }
        spliced += fast.spliced ? 1 : 0;
    }
    assert_in_range(spliced, 500, 4500);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(plain_requests_are_spliced),
        cmocka_unit_test(plain_messages_go_as_they_are),
        cmocka_unit_test(all_else_is_judged_by_the_tree),
        cmocka_unit_test(what_an_operator_adds_takes_the_tree),
        cmocka_unit_test(large_requests_are_left_to_the_helper),
        cmocka_unit_test(both_ways_of_a_request_are_equal),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
