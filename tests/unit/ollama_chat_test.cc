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
