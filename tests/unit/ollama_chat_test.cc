// Runs answers to chats through the adapter for Ollama: the examples of
// tests/data/ollama (request, what Ollama is asked, what it answers, what the
// client gets), and what a broken backend may send.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

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

std::string line_with(std::string_view content, const char *rest)
{
    return R"({"model":"m","created_at":"2026-09-01T08:31:00.1Z","message":)"
           R"({"role":"assistant","content":")" +
           std::string(content) + rest;
}

const char kMore[] = "\"},\"done\":false}\n";
const char kStop[] = "\"},\"done\":true,\"done_reason\":\"stop\"}\n";

Seen stream(const std::string &body, size_t cut)
{
    Client client(chat_with(R"("stream":true)"));
    Reply reply;
    reply.body = body;
    return talk(client, reply, cut);
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

Seen whole_answer(const std::string &body)
{
    Client client(chat_with(""));
    Reply reply;
    reply.content_type = "application/json; charset=utf-8";
    reply.body = body;
    return talk(client, reply, kWhole);
}

void a_whole_answer_without_a_message_is_none(void **)
{
    static const char *const bodies[] = {
        "{}",
        R"({"model":"m","done":true,"done_reason":"stop"})",
        R"({"model":"m","message":null,"done":true})",
        R"({"model":"m","message":"x","done":true})",
        R"({"model":"m","response":"x","done":true})",
        R"({"model":"m","message":{"content":5},"done":true})",
        R"({"error parsing tool call":"raw=x"})",
    };
    for (const char *body : bodies) {
        const Seen seen = whole_answer(body);
        assert_false(seen.begun);
        assert_int_equal(api_error_status(seen.error), 502);
        assert_string_equal(api_error_code(seen.error), "backend_bad_response");
    }
    const Seen empty = stream("{}\n", kWhole);
    assert_string_equal(api_error_code(empty.error), "backend_bad_response");
    // In a stream the line that ends it needs none.
    const Seen seen = stream(line_with("a", kMore) +
                                 "{\"done\":true,\"done_reason\":\"stop\"}\n",
                             kWhole);
    assert_true(seen.status == AdaptStatus::Done);
}

void words_of_the_backend_are_cut_and_cleaned(void **)
{
    const std::string text = "a\\u0001b\\n" + std::string(1016, 'c') +
                             "\xc3\xa9\xc3\xa9" + std::string(3000, 'd');
    const std::string wanted =
        "a b " + std::string(1016, 'c') + "\xc3\xa9\xc3\xa9";
    const std::string body = R"({"error":")" + text + "\"}";
    Client client(chat_with(""));
    Reply reply;
    reply.status = 500;
    reply.body = body;
    assert_string_equal(talk(client, reply, kWhole).error.message.c_str(),
                        wanted.c_str());
    assert_string_equal(whole_answer(body).error.message.c_str(),
                        wanted.c_str());
    const Seen line = stream("{\"x\":\"" + text + "\"}\n", kWhole);
    assert_int_equal(line.error.message.size(), 1024);
    // Never inside of a character.
    reply.body = R"({"error":")" + std::string(1023, 'c') + "\xc3\xa9\"}";
    Client again(chat_with(""));
    assert_string_equal(talk(again, reply, kWhole).error.message.c_str(),
                        std::string(1023, 'c').c_str());
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
        Client client(chat_with(""));
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
        {500, R"({"error":"input exceeds the context length"})", 400,
         "context_length_exceeded", "input exceeds the context length"},
        {500,
         R"({"error":"{\"error\":{\"code\":500,\"message\":\"too long\",)"
         R"(\"type\":\"exceed_context_size_error\"}}"})",
         400, "context_length_exceeded", "too long"},
        {503, R"({"error":"no context length left"})", 503, "backend_busy",
         "no context length left"},
        {500, R"({"error":"{\"message\":\"x\",\"code\":500}"})", 500,
         "backend_error", "x"},
        {500, R"({"error":"{\"error\":\"x\"}"})", 500, "backend_error", "x"},
        {500, R"({"error":{"message":"x"}})", 500, "backend_error", "x"},
        {500, R"({"error":"{not json"})", 500, "backend_error", "{not json"},
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
        Client client(chat_with(""));
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
        if (seen.error.kind == ApiErrorKind::ContextLengthExceeded) {
            assert_string_equal(seen.error.param.c_str(), "messages");
        }
    }
}

// A client that is told both to wait and not to come back may do either.
void what_would_fail_again_says_so(void **)
{
    static const struct {
        int status;
        const char *content_type;
        const char *body;
        bool no_retry;
        int retry_after;
    } cases[] = {
        {401, "application/json", R"({"error":"unauthorized"})", true, 0},
        {404, "text/plain", "404 page not found", true, 0},
        {405, "text/plain", "405 method not allowed", true, 0},
        {200, "text/html", "<html>", true, 0},
        {302, "text/html", "", true, 0},
        {200, "application/json", "", true, 0},
        {200, "application/json",
         R"({"model":"","message":{"role":"","content":""},"done":false})",
         true, 0},
        {500, "application/json",
         R"({"error":"llama-server returned invalid tool call arguments for )"
         R"(\"f\": unexpected end of JSON input"})",
         true, 0},
        {200, "application/json", "{}", false, 1},
        {429, "application/json", R"({"error":"wait"})", false, 7},
        {503, "application/json", R"({"error":"busy"})", false, 7},
    };
    for (const auto &row : cases) {
        Client client(chat_with(""));
        ApiError err;
        const std::unique_ptr<Adapter> adapter = kMake();
        assert_true(client.start(*adapter, err));
        ReplyHead head;
        head.status = row.status;
        head.fields = {{"Content-Type", row.content_type},
                       {"Retry-After", "7"}};
        std::string out;
        const AdaptStatus status =
            feed(*adapter, head, row.body, kWhole, kWhole, out);
        assert_true(status == AdaptStatus::Failed);
        assert_int_equal(adapter->error().no_retry, row.no_retry);
        assert_int_equal(api_error_retry_after(adapter->error()),
                         row.retry_after);
    }
}

void endless_refusals_are_cut(void **)
{
    Client client(chat_with(""));
    Reply reply;
    reply.status = 500;
    reply.body.assign(4 * kMaxErrorBody, 'x');
    const Seen seen = talk(client, reply, kWhole);
    assert_int_equal(api_error_status(seen.error), 500);
    reply.body = R"({"error":")" + std::string(64 << 10, 'x') + "\"}";
    Client large(chat_with(""));
    // It was never whole, and is shown as it came.
    assert_true(starts_with(talk(large, reply, 3000).error.message,
                            R"({"error":"xxx)"));
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
        Client client(chat_with(""));
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

void long_lines_are_put_off_in_their_order(void **)
{
    const std::string long_line = line_with_logprobs(1000, R"("done":false)");
    const std::string last = line_with_logprobs(1000, kLastLine.c_str());
    Reply reply;
    reply.body = kPlainLine + long_line + kPlainLine + long_line + last;
    Client client(chat_with(R"("stream":true)"));
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
        Client again(chat_with(R"("stream":true)"));
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
    Client client(chat_with(R"("stream":true)"));
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
    Client client(chat_with(""));
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

std::string content_of(const Seen &seen)
{
    const json::Ptr events = read_events(seen.body);
    std::string out;
    for (const json_t *event : json::elements(events.get())) {
        const json_t *choice = json_array_get(json::get(event, "choices"), 0);
        out +=
            json::string_of(json::get(json::get(choice, "delta"), "content"));
    }
    return out;
}

void a_long_common_line_is_put_off(void **)
{
    const std::string text(size_t{1} << 20, 'x');
    const std::string end = line_with("", kStop);
    Client client(chat_with(R"("stream":true)"));
    Reply reply;
    reply.body = line_with(text, kMore) + end;
    const Seen large = talk(client, reply, 8000);
    assert_true(large.status == AdaptStatus::Done);
    assert_int_equal(large.put_off, 1);
    assert_true(content_of(large) == text);
    // What the loop can copy in a moment stays there.
    Client again(chat_with(R"("stream":true)"));
    reply.body = line_with(text.substr(text.size() / 4), kMore) + end;
    const Seen small = talk(again, reply, 8000);
    assert_int_equal(small.put_off, 0);
    assert_int_equal(content_of(small).size(), text.size() / 4 * 3);
}

void the_last_of_equal_keys_in_a_line_wins(void **)
{
    const std::string end = line_with("", kStop);
    static const struct {
        const char *rest; // of a common line whose text is "a"
        const char *content;
    } cases[] = {
        {"\",\"content\":\"b\"},\"done\":false}\n", "b"},
        {"\"},\"done\":false,\"done\":false}\n", "a"},
        {"\"},\"message\":{\"content\":\"c\"},\"done\":false}\n", "c"},
        {"\"},\"done\":true,\"done\":false}\n", "a"},
        {"\"},\"created_at\":\"x\",\"done\":false}\n", "a"},
    };
    for (const auto &row : cases) {
        const Seen seen = stream(line_with("a", row.rest) + end, kWhole);
        assert_true(seen.status == AdaptStatus::Done);
        assert_string_equal(content_of(seen).c_str(), row.content);
    }
    // In a text they are no keys.
    const Seen seen =
        stream(line_with(R"(\",\"content\":\"b)", kMore) + end, kWhole);
    assert_string_equal(content_of(seen).c_str(), R"(","content":"b)");
}

void lines_may_be_2048_deep(void **)
{
    // The object, its message, the list, the call, the function: five.
    for (const size_t depth : {2043, 2044}) {
        const std::string arguments = R"({"a":)" + std::string(depth - 1, '[') +
                                      std::string(depth - 1, ']') + "}";
        const std::string line =
            R"({"message":{"role":"assistant","content":"","tool_calls":[)"
            R"({"function":{"name":"f","arguments":)" +
            arguments + "}}]},\"done\":true,\"done_reason\":\"stop\"}\n";
        const Seen seen = stream(line, kWhole);
        if (depth == 2043) {
            assert_true(seen.status == AdaptStatus::Done);
            const json::Ptr quoted(json_string(arguments.c_str()));
            assert_true(
                seen.body.find("\"arguments\":" + json::dump(quoted.get())) !=
                std::string::npos);
        } else {
            assert_false(seen.begun);
            assert_string_equal(api_error_code(seen.error),
                                "backend_bad_response");
        }
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_translate_at_every_cut),
        cmocka_unit_test(cut_lines_never_pass),
        cmocka_unit_test(an_error_before_any_output_keeps_its_status),
        cmocka_unit_test(a_context_that_runs_out_in_a_stream_is_named),
        cmocka_unit_test(what_follows_done_is_ignored),
        cmocka_unit_test(blank_lines_and_crlf_are_lines_too),
        cmocka_unit_test(a_line_nobody_understands_fails),
        cmocka_unit_test(a_whole_answer_without_a_message_is_none),
        cmocka_unit_test(words_of_the_backend_are_cut_and_cleaned),
        cmocka_unit_test(what_would_fail_again_says_so),
        cmocka_unit_test(a_long_common_line_is_put_off),
        cmocka_unit_test(the_last_of_equal_keys_in_a_line_wins),
        cmocka_unit_test(lines_may_be_2048_deep),
        cmocka_unit_test(a_line_without_end_fails),
        cmocka_unit_test(unusable_heads_fail),
        cmocka_unit_test(refusals_become_ours),
        cmocka_unit_test(endless_refusals_are_cut),
        cmocka_unit_test(reasoning_has_the_configured_name),
        cmocka_unit_test(long_lines_are_put_off_in_their_order),
        cmocka_unit_test(a_long_line_may_be_the_last_without_end),
        cmocka_unit_test(long_answers_and_refusals_are_put_off),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
