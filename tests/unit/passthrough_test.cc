// Runs exchanges through the adapter that passes bytes: what of the request
// changes, that nothing of the answer does, and what becomes of errors.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cmocka.hpp"

using namespace llmproxy;

#include "feed.h"

namespace
{

constexpr size_t kWhole = SIZE_MAX;
const char kEvents[] = "text/event-stream; charset=utf-8";

struct Client {
    explicit Client(std::string text) : body(std::move(text))
    {
        config.backends[1].name = "vllm";
        assert_true(scanner.feed(body));
        assert_true(scanner.finish());
        const std::string_view sent = scanner.facts().model_text;
        model = trim(sent);
        if (starts_with(model, "vllm:")) {
            model.remove_prefix(5);
        }
        removed = static_cast<size_t>(model.data() - sent.data());
    }
    void start(Adapter &adapter)
    {
        const ClientRequest request{
            body,      scanner.facts(), scanner.facts().model_text,
            model,     removed,         "req-1",
            fields,    config,          config.backends[1],
            1790000000};
        ApiError err;
        assert_true(adapter.start(request, upstream, err));
    }

    std::string body;
    json::BodyScanner scanner;
    std::string_view model; // into the scanner's facts
    size_t removed = 0;
    std::vector<Field> fields;
    Config config;
    UpstreamRequest upstream;
};

std::unique_ptr<Adapter> new_adapter(EndMark mark = EndMark::Done)
{
    return make_passthrough("/v1/chat/completions", mark);
}

struct Reply {
    int status = 200;
    std::vector<Field> fields;
    std::string body;
};

struct Seen {
    bool begun = false;
    AdaptStatus status = AdaptStatus::More;
    size_t put_off = 0; // steps for the helper
    ApiError error;
    std::string passed; // before an error was added
    std::string body;
    AnswerShape shape;
    uint64_t pieces = 0;
};

// Cuts the reply at `cut`, or into single bytes where `cut` is 0.
Seen talk(bool stream, const Reply &reply, size_t cut)
{
    Client client(stream ? R"({"model":"m","stream":true})"
                         : R"({"model":"m"})");
    const std::unique_ptr<Adapter> adapter = new_adapter();
    client.start(*adapter);
    assert_int_equal(adapter->streaming(), stream);
    assert_int_equal(adapter->shape().sse, stream);
    Seen seen;
    ReplyHead head;
    head.status = reply.status;
    head.fields = reply.fields;
    seen.status = feed(*adapter, head, reply.body, cut == 0 ? 1 : cut,
                       cut == 0 ? 1 : kWhole, seen.body, &seen.put_off);
    seen.passed = seen.body;
    seen.begun = !seen.body.empty() || seen.status == AdaptStatus::Done;
    if (seen.status == AdaptStatus::Failed) {
        seen.error = adapter->error();
        if (seen.begun) {
            adapter->append_error(seen.error, seen.body);
        }
    }
    seen.shape = adapter->shape();
    seen.pieces = adapter->pieces();
    return seen;
}

Reply event_reply(std::string body)
{
    Reply reply;
    reply.fields.push_back({"Content-Type", kEvents});
    reply.body = std::move(body);
    return reply;
}

void assert_status(const Seen &seen, AdaptStatus wanted)
{
    assert_int_equal(static_cast<int>(seen.status), static_cast<int>(wanted));
}

// -- requests --------------------------------------------------------------

void only_the_model_changes(void **)
{
    static const struct {
        const char *sent;
        const char *wanted;
    } cases[] = {
        {R"({"model":"qwen","x":1})", R"({"model":"qwen","x":1})"},
        {R"({"model":"vllm:qwen","x":1})", R"({"model":"qwen","x":1})"},
        {R"({ "x" : 1 , "model" : "vllm:qwen" })",
         R"({ "x" : 1 , "model" : "qwen" })"},
        {R"({"model":"  vllm:qwen  ","x":1})", R"({"model":"qwen","x":1})"},
        {R"({"model":"qwen  ","x":1})", R"({"model":"qwen","x":1})"},
        {R"({"model":"vllm:vllm:7b"})", R"({"model":"vllm:7b"})"},
        // Escapes: as they are where nothing is taken off, else made anew.
        {R"({"model":"q\u0077en"})", R"({"model":"q\u0077en"})"},
        {R"({"model":"vllm\u003aa\/b\"c\u00e9"})",
         "{\"model\":\"a/b\\\"c\xc3\xa9\"}"},
        {R"({"x":[1e400,123456789012345678901234567890,"\ud800"],)"
         R"("y":"\"model\":\"vllm:a\"","model":"vllm:b","z":{"model":"c"}})",
         R"({"x":[1e400,123456789012345678901234567890,"\ud800"],)"
         R"("y":"\"model\":\"vllm:a\"","model":"b","z":{"model":"c"}})"},
    };
    for (const auto &row : cases) {
        Client client(row.sent);
        const std::unique_ptr<Adapter> adapter = new_adapter();
        client.start(*adapter);
        assert_int_equal(client.upstream.body.size(), 1);
        assert_string_equal(std::string(client.upstream.body[0]).c_str(),
                            row.wanted);
        assert_string_equal(client.upstream.path.c_str(),
                            "/v1/chat/completions");
    }
}

void the_shorter_side_is_moved(void **)
{
    const std::string filler(100000, 'x');
    const struct {
        std::string sent;
        bool front; // the front is shorter, and moves
    } cases[] = {
        {R"({"model":"vllm:a","x":")" + filler + R"("})", true},
        {R"({"x":")" + filler + R"(","model":"vllm:a"})", false},
    };
    for (const auto &row : cases) {
        Client client(row.sent);
        const std::unique_ptr<Adapter> adapter = new_adapter();
        client.start(*adapter);
        const std::string_view body = client.upstream.body.at(0);
        assert_true(body.size() == row.sent.size() - 5);
        assert_true(body.data() == client.body.data() + (row.front ? 5 : 0));
        const size_t at = row.sent.find("vllm:");
        std::string wanted = row.sent;
        wanted.erase(at, 5);
        assert_true(body == wanted);
    }
}

void headers_are_ours_and_trace_context(void **)
{
    const char parent[] =
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    Client client(R"({"model":"m","stream":true})");
    client.config.backends[1].api_key = "key-of-vllm";
    client.fields = {{"Authorization", "Bearer token-of-the-client"},
                     {"Cookie", "a=b"},
                     {"Traceparent", parent},
                     {"tracestate", "a=1,b=2"},
                     {"X-data-parallel-rank", "3"}};
    std::unique_ptr<Adapter> adapter = new_adapter();
    client.start(*adapter);
    const std::vector<std::string> wanted = {
        "Content-Type: application/json",
        "Accept: text/event-stream",
        "X-Request-Id: req-1",
        "Authorization: Bearer key-of-vllm",
        std::string("traceparent: ") + parent,
        "tracestate: a=1,b=2"};
    assert_true(client.upstream.headers == wanted);

    for (const char *bad :
         {"", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"}) {
        Client other(R"({"model":"m"})");
        other.fields = {{"traceparent", bad}, {"tracestate", "a=1"}};
        adapter = new_adapter();
        other.start(*adapter);
        const std::vector<std::string> plain = {
            "Content-Type: application/json", "X-Request-Id: req-1"};
        assert_true(other.upstream.headers == plain);
    }
}

// -- answers ---------------------------------------------------------------

void bodies_pass_as_they_come(void **)
{
    Reply reply;
    reply.fields = {{"Content-Type", "application/json"},
                    {"Content-Length", "11"}};
    reply.body = std::string("{ \"a\" : 1 }", 11);
    for (size_t cut = 0; cut < reply.body.size(); cut++) {
        const Seen seen = talk(false, reply, cut);
        assert_status(seen, AdaptStatus::Done);
        assert_true(seen.body == reply.body);
        assert_int_equal(seen.shape.status, 200);
        assert_int_equal(seen.shape.length.value_or(0), 11);
        assert_string_equal(seen.shape.content_type.c_str(),
                            "application/json");
    }
    reply.fields[1] = {"Transfer-Encoding", "chunked"};
    assert_false(talk(false, reply, kWhole).shape.length.has_value());
}

void fields_of_the_connection_stay_behind(void **)
{
    Reply reply;
    reply.fields = {{"Content-Type", "application/json"},
                    {"Server", "uvicorn"},
                    {"Date", "now"},
                    {"Connection", "close, X-Hop"},
                    {"X-Hop", "1"},
                    {"Keep-Alive", "timeout=5"},
                    {"Proxy-Authenticate", "x"},
                    {"TE", "x"},
                    {"Trailer", "x"},
                    {"Upgrade", "h2c"},
                    {"Set-Cookie", "a=b"},
                    {"access-control-allow-origin", "*"},
                    {"X-Request-Id", "theirs"},
                    {"X-RateLimit-Limit-Requests", "1"},
                    {"RateLimit", "1"},
                    {"RateLimit-Policy", "1"},
                    {"X-Accel-Redirect", "/secret"},
                    {"X-Proxy-Status", "200"},
                    {"Alt-Svc", "h3"},
                    {"Strict-Transport-Security", "max-age=1"},
                    {"openai-processing-ms", "7"},
                    {"X-Split", "a\r\nb: c"},
                    {"Cache-Control", "private"}};
    Seen seen = talk(false, reply, kWhole);
    assert_string_equal(
        seen.shape.extra.text().c_str(),
        "openai-processing-ms: 7\r\nCache-Control: private\r\n");
    reply.fields[0].value = kEvents;
    seen = talk(true, reply, kWhole);
    assert_string_equal(seen.shape.extra.text().c_str(),
                        "openai-processing-ms: 7\r\n");

    const std::string large(40000, 'x');
    reply.fields = {{"A", large}, {"B", large}, {"C", large}};
    seen = talk(false, reply, kWhole);
    assert_true(seen.shape.extra.text().size() <= size_t{64} << 10);
    assert_true(seen.shape.extra.text().size() > large.size());
}

void streams_pass_to_their_mark(void **)
{
    const std::string stream = ": ping\n\n"
                               "data: {\"a\":\"data: [DONE]\"}\n\n"
                               "event: x\r\ndata: {\"b\":1}\r\n\r\n"
                               "data: [DONE]\n\n";
    for (size_t cut = 0; cut < stream.size(); cut++) {
        const Seen seen =
            talk(true, event_reply(stream + "data: late\n\n"), cut);
        assert_status(seen, AdaptStatus::Done);
        assert_true(seen.body == stream);
        assert_true(seen.shape.sse);
        assert_string_equal(seen.shape.content_type.c_str(), kEvents);
        assert_false(seen.shape.length.has_value());
        assert_int_equal(seen.pieces, 3);
    }
    // A server that streams without being asked to.
    assert_true(talk(false, event_reply(stream), kWhole).shape.sse);
}

void pieces_are_not_held(void **)
{
    Client client(R"({"model":"m","stream":true})");
    const std::unique_ptr<Adapter> adapter = new_adapter();
    client.start(*adapter);
    ReplyHead head;
    head.status = 200;
    head.fields.push_back({"Content-Type", kEvents});
    assert_int_equal(static_cast<int>(adapter->reply_head(head)),
                     static_cast<int>(AdaptStatus::More));
    const std::string stream = "data: {\"err\":1}\n\ndata: x";
    for (const char c : stream) {
        std::string out;
        (void)adapter->reply_data(std::string(1, c), out);
        assert_int_equal(out.size(), 1);
        assert_int_equal(out[0], c);
    }
    assert_false(adapter->at_event_end());
}

void a_stream_without_its_mark_failed(void **)
{
    const std::string part = "data: {\"a\":1}\n\n";
    Seen seen = talk(true, event_reply(part), kWhole);
    assert_status(seen, AdaptStatus::Failed);
    assert_string_equal(api_error_code(seen.error), "backend_error");
    assert_true(seen.body == part + api_error_event(seen.error));
    // Nothing may be said inside an event.
    seen = talk(true, event_reply(part + "data: {\"b"), kWhole);
    assert_status(seen, AdaptStatus::Failed);
    assert_true(seen.body == part + "data: {\"b");
    // Nothing came at all: still a status.
    seen = talk(true, event_reply(""), kWhole);
    assert_false(seen.begun);
    assert_int_equal(api_error_status(seen.error), 502);
}

const char kVllmError[] =
    R"("error":{"message":"out of blocks","type":"InternalServerError",)"
    R"("param":null,"code":500}})";

void error_events_become_ours_at_every_cut(void **)
{
    const std::string before = "data: {\"a\":1}\n\n";
    for (const char *start : {"data: {", "data:{"}) {
        const std::string stream =
            before + start + kVllmError + "\n\ndata: [DONE]\n\n";
        for (size_t cut = 0; cut < stream.size(); cut++) {
            const Seen seen = talk(true, event_reply(stream), cut);
            assert_status(seen, AdaptStatus::Failed);
            assert_string_equal(seen.error.message.c_str(), "out of blocks");
            assert_int_equal(api_error_status(seen.error), 500);
            std::string wanted = before + api_error_event(seen.error);
            if (!starts_with(seen.body, before + "data: ")) {
                wanted.erase(wanted.find("data: {\"error") + 5, 1);
            }
            assert_string_equal(seen.body.c_str(), wanted.c_str());
        }
    }
}

void error_lines_of_llama_cpp_become_events(void **)
{
    const std::string before = "data: {\"a\":1}\n\n";
    const std::string stream =
        before + R"(error: {"code":503,"message":"Loading model",)" +
        "\"type\":\"unavailable_error\"}\n\n";
    for (size_t cut = 0; cut < stream.size(); cut++) {
        const Seen seen = talk(true, event_reply(stream), cut);
        assert_status(seen, AdaptStatus::Failed);
        assert_string_equal(seen.error.message.c_str(), "Loading model");
        assert_string_equal(api_error_code(seen.error), "backend_busy");
        // What had passed of "error" stands alone in its line: a field that
        // no client knows.
        assert_true(ends_with(seen.body, api_error_event(seen.error)));
        const std::string event = api_error_event(seen.error);
        std::string middle = seen.body.substr(before.size());
        middle.resize(middle.size() - event.size());
        assert_true(
            middle.empty() ||
            (middle.back() == '\n' &&
             starts_with("error:", middle.substr(0, middle.size() - 1))));
    }
}

void an_error_first_keeps_its_status(void **)
{
    const Seen seen =
        talk(true, event_reply(std::string("data: {") + kVllmError + "\n\n"),
             kWhole);
    assert_status(seen, AdaptStatus::Failed);
    assert_false(seen.begun);
    assert_int_equal(api_error_status(seen.error), 500);
}

void broken_error_lines_are_errors_too(void **)
{
    // No end of the line.
    Seen seen =
        talk(true, event_reply(std::string("data: {") + kVllmError), kWhole);
    assert_string_equal(seen.error.message.c_str(), "out of blocks");
    // No JSON.
    seen = talk(true, event_reply("data: {\"error\": oops\n\n"), kWhole);
    assert_string_equal(api_error_code(seen.error), "backend_bad_response");
    // Endless, with a part of it sent.
    seen = talk(
        true,
        event_reply("data: {\"error\":\"" + std::string(kMaxLine + 1, 'x')), 9);
    assert_string_equal(api_error_code(seen.error), "backend_bad_response");
    assert_string_equal(seen.body.c_str(), api_error_event(seen.error).c_str());
}

void a_lost_backend_ends_the_error_it_began(void **)
{
    Client client(R"({"model":"m","stream":true})");
    const std::unique_ptr<Adapter> adapter = new_adapter();
    client.start(*adapter);
    ReplyHead head;
    head.status = 200;
    head.fields.push_back({"Content-Type", kEvents});
    (void)adapter->reply_head(head);
    std::string out;
    (void)adapter->reply_data("data: {\"er", out);
    (void)adapter->reply_data("ror\":{\"mess", out);
    assert_string_equal(out.c_str(), "data: {\"er");
    ApiError lost;
    lost.kind = ApiErrorKind::BackendUnreachable;
    adapter->append_error(lost, out);
    assert_string_equal(out.c_str(), api_error_event(lost).c_str());
}

void no_stream_where_one_was_asked_for(void **)
{
    Reply reply;
    reply.fields.push_back({"Content-Type", "application/json"});
    reply.body = R"({"object":"chat.completion","x":"an \"error\""})";
    Seen seen = talk(true, reply, kWhole);
    assert_status(seen, AdaptStatus::Failed);
    assert_false(seen.begun);
    assert_string_equal(api_error_code(seen.error), "backend_bad_response");
    for (const char *body :
         {R"({"error":{"message":"no","code":400}})",
          R"({"object":"error","message":"no","code":400})"}) {
        reply.body = body;
        seen = talk(true, reply, 0);
        assert_false(seen.begun);
        assert_int_equal(api_error_status(seen.error), 400);
        assert_string_equal(seen.error.message.c_str(), "no");
    }
    reply.body.assign(4 * kMaxErrorBody, ' ');
    seen = talk(true, reply, kWhole);
    assert_string_equal(api_error_code(seen.error), "backend_bad_response");
}

void endless_answers_fail(void **)
{
    Reply reply;
    reply.fields.push_back({"Content-Length", "67108865"});
    Seen seen = talk(false, reply, kWhole);
    assert_status(seen, AdaptStatus::Failed);
    assert_string_equal(api_error_code(seen.error), "backend_bad_response");
    reply.fields.clear();
    reply.body.assign(kMaxReply + 1, 'x');
    seen = talk(false, reply, kMaxReply);
    assert_status(seen, AdaptStatus::Failed);
    assert_true(seen.passed.size() == kMaxReply);
    assert_true(seen.body.size() == seen.passed.size());
}

void unusable_heads_fail(void **)
{
    static const struct {
        int status;
        Field field;
    } cases[] = {
        {101, {"Upgrade", "x"}},
        {204, {"X", "y"}},
        {206, {"Content-Range", "x"}},
        {302, {"Location", "/"}},
        {304, {"X", "y"}},
        {600, {"X", "y"}},
        {200, {"Content-Encoding", "br"}},
        {200, {"Transfer-Encoding", "gzip"}},
    };
    for (const auto &row : cases) {
        Reply reply;
        reply.status = row.status;
        reply.fields.push_back(row.field);
        reply.body = "x";
        const Seen seen = talk(false, reply, kWhole);
        assert_status(seen, AdaptStatus::Failed);
        assert_false(seen.begun);
        assert_int_equal(api_error_status(seen.error), 502);
        assert_string_equal(api_error_code(seen.error), "backend_bad_response");
    }
}

void refusals_become_ours(void **)
{
    static const struct {
        int status;
        const char *body;
        int client_status;
        const char *code; // "" = null
        const char *param;
        const char *message;
    } cases[] = {
        {404,
         R"({"error":{"message":"The model `q` does not exist.",)"
         R"("type":"NotFoundError","param":"model","code":404}})",
         404, "model_not_found", "model", "The model `q` does not exist."},
        {404, R"({"detail":"Not Found"})", 404, "", "", "Not Found"},
        {401, R"({"error":"Unauthorized"})", 502, "backend_auth", "",
         "The vllm backend rejected the proxy's credentials."},
        {403, "<html>", 502, "backend_auth", "",
         "The vllm backend rejected the proxy's credentials."},
        {400,
         R"({"object":"error","message":"bad n","type":"BadRequestError",)"
         R"("param":"body.n","code":400})",
         400, "", "n", "bad n"},
        {400,
         R"({"error":{"message":"This model's maximum context length is )"
         R"(9","type":"BadRequestError","param":null,"code":400}})",
         400, "context_length_exceeded", "messages",
         "This model's maximum context length is 9"},
        {400,
         R"({"error":{"code":400,"message":"too big","type":)"
         R"("exceed_context_size_error"}})",
         400, "context_length_exceeded", "messages", "too big"},
        {409, R"({"error":{"message":"x"}})", 409, "", "", "x"},
        {422, R"({"error":{"message":"x"}})", 400, "", "", "x"},
        {429, R"({"error":{"message":"x"}})", 429, "backend_rate_limited", "",
         "x"},
        {500, R"({"error":{"message":"x","code":500}})", 500, "backend_error",
         "", "x"},
        {500, "Internal Server Error", 502, "backend_bad_response", "",
         nullptr},
        {500, "[]", 502, "backend_bad_response", "", nullptr},
        {500, "{}", 500, "backend_error", "",
         "The backend answered with status 500."},
        {501, R"({"error":{"message":"x"}})", 501, "not_implemented", "", "x"},
        {502, R"({"error":{"message":"x"}})", 502, "backend_error", "", "x"},
        {503, "<html>503</html>", 503, "backend_busy", "",
         "The backend answered with status 503."},
        {504, "", 504, "backend_timeout", "",
         "The backend answered with status 504."},
        {507, R"({"error":"x"})", 507, "backend_error", "", "x"},
    };
    for (const auto &row : cases) {
        Reply reply;
        reply.status = row.status;
        reply.fields = {{"Retry-After", "7"}};
        reply.body = row.body;
        for (const bool stream : {false, true}) {
            const Seen seen = talk(stream, reply, 0);
            assert_status(seen, AdaptStatus::Failed);
            assert_false(seen.begun);
            assert_int_equal(api_error_status(seen.error), row.client_status);
            const char *code = api_error_code(seen.error);
            assert_string_equal(code == nullptr ? "" : code, row.code);
            const std::string body = api_error_body(seen.error);
            const std::string param =
                row.param[0] == '\0'
                    ? "\"param\":null"
                    : std::string("\"param\":\"") + row.param + "\"";
            assert_true(body.find(param) != std::string::npos);
            if (row.message != nullptr) {
                assert_string_equal(seen.error.message.c_str(), row.message);
            }
            if (row.client_status == 429) {
                assert_int_equal(api_error_retry_after(seen.error), 7);
            }
        }
    }
}

void an_error_that_is_null_is_none(void **)
{
    const std::string pad(kLongWork, 'p');
    const std::string before = "data: {\"error\":null,\"x\":1}\n\n";
    Reply reply;
    reply.fields = {{"Content-Type", kEvents}};
    reply.body = before + "data:{\"error\":false}\r\n\r\n" +
                 "data: {\"error\":null,\"pad\":\"" + pad + "\"}\n\n" +
                 "data: [DONE]\n\n";
    for (size_t cut = 0; cut < 120; cut++) {
        const Seen seen = talk(true, reply, cut);
        assert_status(seen, AdaptStatus::Done);
        assert_true(seen.body == reply.body);
        assert_int_equal(seen.put_off, 1);
        assert_int_equal(seen.pieces, 4);
    }
    // Cut off behind such a line, the stream is not whole.
    reply.body = before.substr(0, before.size() - 2);
    const Seen seen = talk(true, reply, kWhole);
    assert_status(seen, AdaptStatus::Failed);
    assert_true(starts_with(seen.body, reply.body));
}

void long_errors_are_put_off(void **)
{
    const std::string text(kLongWork, 'x');
    const std::string json = R"({"error":{"message":")" + text + "\"}}";
    Reply refusal;
    refusal.status = 400;
    refusal.body = json;
    Reply event;
    event.fields = {{"Content-Type", kEvents}};
    event.body = "data: " + json + "\n\n";
    Reply open = event; // no line end
    open.body = "data: " + json;
    for (const Reply &reply : {refusal, event, open}) {
        const Seen seen = talk(true, reply, kWhole);
        assert_status(seen, AdaptStatus::Failed);
        assert_int_equal(seen.put_off, 1);
        assert_string_equal(seen.error.message.c_str(), text.c_str());
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_model_changes),
        cmocka_unit_test(the_shorter_side_is_moved),
        cmocka_unit_test(headers_are_ours_and_trace_context),
        cmocka_unit_test(bodies_pass_as_they_come),
        cmocka_unit_test(fields_of_the_connection_stay_behind),
        cmocka_unit_test(streams_pass_to_their_mark),
        cmocka_unit_test(pieces_are_not_held),
        cmocka_unit_test(a_stream_without_its_mark_failed),
        cmocka_unit_test(error_events_become_ours_at_every_cut),
        cmocka_unit_test(error_lines_of_llama_cpp_become_events),
        cmocka_unit_test(an_error_first_keeps_its_status),
        cmocka_unit_test(broken_error_lines_are_errors_too),
        cmocka_unit_test(a_lost_backend_ends_the_error_it_began),
        cmocka_unit_test(no_stream_where_one_was_asked_for),
        cmocka_unit_test(endless_answers_fail),
        cmocka_unit_test(unusable_heads_fail),
        cmocka_unit_test(refusals_become_ours),
        cmocka_unit_test(an_error_that_is_null_is_none),
        cmocka_unit_test(long_errors_are_put_off),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
