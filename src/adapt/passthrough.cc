// Speaks to vLLM and its like: the client's own bytes go out, with nothing but
// the model's value rewritten, and the backend's bytes come back untouched.
// Only what a backend says when it fails is put into our own shape.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/writer.h"

#include <cassert>
#include <cstring>
#include <utility>

#include "backend_error.h"
#include "head.h"

namespace llmproxy
{

namespace
{

constexpr size_t kMaxReplyFields = size_t{64} << 10;

// Fields that belong to one connection, or that are ours to say. A name that
// ends in '*' stands for all that begin so.
constexpr const char *kNotPassed[] = {"Connection",
                                      "Keep-Alive",
                                      "Proxy-*",
                                      "TE",
                                      "Trailer",
                                      "Transfer-Encoding",
                                      "Upgrade",
                                      "Content-Length",
                                      "Content-Type",
                                      "Server",
                                      "Date",
                                      "Set-Cookie",
                                      "Access-Control-*",
                                      "X-Request-Id",
                                      "X-RateLimit-*",
                                      "RateLimit*",
                                      "X-Accel-*",
                                      "X-Proxy-*",
                                      "Alt-Svc",
                                      "Strict-Transport-Security"};

bool is_passed(std::string_view name)
{
    for (std::string_view entry : kNotPassed) {
        if (entry.back() == '*') {
            entry.remove_suffix(1);
            if (iequals(name.substr(0, entry.size()), entry)) {
                return false;
            }
        } else if (iequals(name, entry)) {
            return false;
        }
    }
    return true;
}

bool is_named_by_connection(const ReplyHead &head, std::string_view name)
{
    for (const Field &field : head.fields) {
        if (iequals(field.name, "Connection") &&
            list_contains(field.value, name)) {
            return true;
        }
    }
    return false;
}

void copy_fields(const ReplyHead &head, bool sse, FieldBlock &out)
{
    for (const Field &field : head.fields) {
        if (!is_passed(field.name) ||
            is_named_by_connection(head, field.name)) {
            continue;
        }
        // A stream brings its own.
        if (sse && iequals(field.name, "Cache-Control")) {
            continue;
        }
        const size_t size = field.name.size() + field.value.size() + 4;
        if (out.text().size() + size > kMaxReplyFields) {
            break;
        }
        (void)out.add(field.name, field.value);
    }
}

bool is_hex(std::string_view text)
{
    return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// W3C trace context, version 00.
bool is_traceparent(std::string_view text)
{
    return text.size() == 55 && starts_with(text, "00-") &&
           is_hex(text.substr(3, 32)) && text[35] == '-' &&
           is_hex(text.substr(36, 16)) && text[52] == '-' &&
           is_hex(text.substr(53));
}

bool is_tracestate(std::string_view text)
{
    for (const char c : text) {
        if (c < 0x20 || c > 0x7e) {
            return false;
        }
    }
    return !text.empty() && text.size() <= 512;
}

void add_trace_headers(const std::vector<Field> &fields,
                       std::vector<std::string> &out)
{
    const std::string_view *parent = find_field(fields, "traceparent");
    if (parent == nullptr || !is_traceparent(*parent)) {
        return;
    }
    out.emplace_back("traceparent: ").append(*parent);
    const std::string_view *state = find_field(fields, "tracestate");
    if (state != nullptr && is_tracestate(*state)) {
        out.emplace_back("tracestate: ").append(*state);
    }
}

// Puts `model` where the client's model string stands, and returns the window
// of `body` that is the request now. The new text is never longer than the
// old: a prefix is gone, and escaping it anew escapes no more than the client
// did. The gap is closed by moving the shorter side of the body.
std::string_view splice_model(std::string &body, json::Range at,
                              std::string_view model)
{
    std::string value;
    json::append_string(value, model);
    assert(value.size() <= at.size());
    const size_t gap = at.size() - value.size();
    char *text = body.data();
    value.copy(text + at.begin + gap, value.size());
    if (at.begin <= body.size() - at.end) {
        std::memmove(text + gap, text, at.begin);
        return std::string_view(body).substr(gap);
    }
    std::memmove(text + at.begin, text + at.begin + gap,
                 body.size() - at.begin - gap);
    return std::string_view(body).substr(0, body.size() - gap);
}

class Passthrough final : public Adapter
{
public:
    Passthrough(std::string_view path, EndMark mark)
        : path_(path), mark_(mark), tracker_(mark)
    {
    }

    // The model is put in its place, however long the body is.
    bool starts_long(const ClientRequest &) const override { return false; }
    bool start(const ClientRequest &request, UpstreamRequest &out,
               ApiError &err) override;
    AdaptStatus reply_head(const ReplyHead &head) override;
    AdaptStatus reply_data(std::string_view in, std::string &out) override;
    AdaptStatus reply_end(std::string &out) override;
    AdaptStatus reply_long(std::string &out) override;
    size_t held() const override { return held_.size() + rest_.size(); }
    const AnswerShape &shape() const override { return shape_; }
    const ApiError &error() const override { return error_; }
    bool streaming() const override { return shape_.sse; }
    bool at_event_end() const override { return tracker_.at_event_end(); }
    void append_error(const ApiError &error, std::string &out) override;
    Usage usage() const override { return {}; }
    uint64_t pieces() const override { return tracker_.events(); }

private:
    enum class State {
        Refusal,   // an error status; its text is collected in held_
        NoStream,  // 2xx, but not the stream that was asked for; the same
        Whole,     // passes as it comes
        Events,    // passes as it comes, followed by the tracker
        ErrorLine, // the rest of an error line is collected in held_
    };

    AdaptStatus fail(const ApiError &error);
    AdaptStatus fail(ApiErrorKind kind, const char *message);
    AdaptStatus collect(std::string_view in);
    AdaptStatus finish_held(std::string &out);
    AdaptStatus finish_refusal();
    AdaptStatus follow(std::string_view in, std::string &out);
    AdaptStatus collect_error_line(std::string_view in, std::string &out);
    AdaptStatus finish_error_line(std::string &out);

    std::string path_;
    EndMark mark_;
    SseTracker tracker_;
    State state_ = State::Refusal;
    AnswerShape shape_;
    ApiError error_;
    std::string backend_;
    int status_ = 0;
    int retry_after_s_ = 0;
    uint64_t passed_ = 0;
    std::string held_;
    size_t error_prefix_ = 0; // of an error line in held_
    size_t sent_prefix_ = 0;  // of that, what the client has already
    std::string rest_;        // came behind the line
};

bool Passthrough::start(const ClientRequest &request, UpstreamRequest &out,
                        ApiError & /*err*/)
{
    backend_ = request.backend.name;
    // An endpoint without an end mark ignores the member.
    if (request.facts.stream && mark_ != EndMark::None) {
        shape_.sse = true;
        shape_.content_type = "text/event-stream; charset=utf-8";
    }
    out.path = path_;
    out.headers = request_headers(
        request, request.facts.stream ? "text/event-stream" : "*/*");
    add_trace_headers(request.fields, out.headers);
    std::string_view body = request.body;
    if (request.model != request.sent_model) {
        body = splice_model(request.body, request.facts.model, request.model);
    }
    out.body.push_back(body);
    return true;
}

AdaptStatus Passthrough::fail(const ApiError &error)
{
    error_ = error;
    return AdaptStatus::Failed;
}

AdaptStatus Passthrough::fail(ApiErrorKind kind, const char *message)
{
    (void)refuse(error_, kind, message);
    return AdaptStatus::Failed;
}

AdaptStatus Passthrough::reply_head(const ReplyHead &head)
{
    status_ = head.status;
    retry_after_s_ = reply_retry_after(head);
    if (head.status >= 400 && head.status <= 599) {
        state_ = State::Refusal;
        return AdaptStatus::More;
    }
    const char *why = unusable_reply(head);
    if (why != nullptr) {
        return fail(ApiErrorKind::BackendBadResponse, why);
    }
    const bool events = has_media_type(head, "text/event-stream");
    if (shape_.sse && !events) {
        state_ = State::NoStream;
        return AdaptStatus::More;
    }
    state_ = events ? State::Events : State::Whole;
    shape_.sse = events;
    shape_.status = head.status;
    const std::string_view *type = head.find("Content-Type");
    shape_.content_type = type == nullptr ? "" : std::string(*type);
    copy_fields(head, events, shape_.extra);
    const std::string_view *length = head.find("Content-Length");
    uint64_t bytes = 0;
    if (!events && length != nullptr && parse_u64(*length, bytes) &&
        head.find("Transfer-Encoding") == nullptr) {
        if (bytes > kMaxReply) {
            return fail(ApiErrorKind::BackendBadResponse,
                        "The backend's answer is larger than 64 MiB.");
        }
        shape_.length = bytes;
    }
    return AdaptStatus::More;
}

AdaptStatus Passthrough::reply_data(std::string_view in, std::string &out)
{
    switch (state_) {
    case State::Refusal:
    case State::NoStream:
        return collect(in);
    case State::Whole:
        passed_ += in.size();
        if (passed_ > kMaxReply) {
            return fail(ApiErrorKind::BackendBadResponse,
                        "The backend's answer is larger than 64 MiB.");
        }
        out.append(in);
        return AdaptStatus::More;
    case State::Events:
        return follow(in, out);
    case State::ErrorLine:
        return collect_error_line(in, out);
    }
    return AdaptStatus::More;
}

AdaptStatus Passthrough::collect(std::string_view in)
{
    held_.append(in.substr(0, kMaxErrorBody - held_.size()));
    return held_.size() < kMaxErrorBody ? AdaptStatus::More : AdaptStatus::Long;
}

AdaptStatus Passthrough::finish_refusal()
{
    if (state_ == State::Refusal) {
        return fail(
            map_openai_error({status_, retry_after_s_, held_, backend_}));
    }
    // Some servers answer 200 and say in the body that they failed.
    if (held_.find("\"error\"") != std::string::npos) {
        return fail(map_openai_event(held_, backend_));
    }
    return fail(ApiErrorKind::BackendBadResponse,
                "The backend did not stream the answer as it was asked to.");
}

AdaptStatus Passthrough::follow(std::string_view in, std::string &out)
{
    size_t used = 0;
    switch (tracker_.follow(in, used)) {
    case SseTracker::Stop::None:
        out.append(in);
        return AdaptStatus::More;
    case SseTracker::Stop::EndOfMark:
        out.append(in.substr(0, used));
        return AdaptStatus::Done;
    case SseTracker::Stop::ErrorLine:
        break;
    }
    // Of the line itself nothing more goes out than earlier reads have let
    // through: where that is nothing, and nothing came before, the client can
    // still get a status.
    const size_t line = in.substr(0, used).rfind('\n') + 1; // npos + 1 is 0
    out.append(in.substr(0, line));
    state_ = State::ErrorLine;
    held_ = tracker_.line_start();
    error_prefix_ = held_.size();
    sent_prefix_ = error_prefix_ - (used - line);
    return collect_error_line(in.substr(used), out);
}

AdaptStatus Passthrough::collect_error_line(std::string_view in,
                                            std::string &out)
{
    const size_t lf = in.find('\n');
    held_.append(in.substr(0, lf));
    if (held_.size() > kMaxLine) {
        return fail(ApiErrorKind::BackendBadResponse,
                    "A line of the backend's stream is longer than 8 MiB.");
    }
    if (lf == std::string_view::npos) {
        return AdaptStatus::More;
    }
    rest_.assign(in.substr(lf));
    return finish_held(out);
}

AdaptStatus Passthrough::finish_error_line(std::string &out)
{
    std::string_view json = held_;
    json.remove_prefix(json.find(':') + 1);
    if (reports_error(json)) {
        return fail(map_openai_event(trim(json), backend_));
    }
    // Goes on as if it had never been stopped at.
    const std::string line = std::move(held_) + rest_;
    held_.clear();
    rest_.clear();
    state_ = State::Events;
    out.append(line, sent_prefix_, error_prefix_ - sent_prefix_);
    return follow(std::string_view(line).substr(error_prefix_), out);
}

// What is held is all there: an error to be read.
AdaptStatus Passthrough::finish_held(std::string &out)
{
    if (held_.size() > kLongWork) {
        return AdaptStatus::Long;
    }
    return reply_long(out);
}

AdaptStatus Passthrough::reply_long(std::string &out)
{
    return state_ == State::ErrorLine ? finish_error_line(out)
                                      : finish_refusal();
}

AdaptStatus Passthrough::reply_end(std::string &out)
{
    switch (state_) {
    case State::Refusal:
    case State::NoStream:
        return finish_held(out);
    case State::ErrorLine: {
        const AdaptStatus status = finish_held(out);
        if (status != AdaptStatus::More) {
            return status;
        }
        break;
    }
    case State::Whole:
        return AdaptStatus::Done;
    case State::Events:
        break;
    }
    if (mark_ == EndMark::None) {
        return AdaptStatus::Done;
    }
    return fail(ApiErrorKind::BackendError,
                "The backend closed the stream before it was finished.");
}

void Passthrough::append_error(const ApiError &error, std::string &out)
{
    const std::string event = api_error_event(error); // data: {"error":...
    if (state_ != State::ErrorLine) {
        if (streaming() && at_event_end()) {
            out += event;
        }
        return;
    }
    constexpr std::string_view field = "data:";
    const std::string_view sent =
        std::string_view(held_).substr(0, sent_prefix_);
    if (starts_with(event, sent)) {
        out.append(event, sent.size());
    } else if (starts_with(sent, field)) {
        // The backend writes no blank behind the colon.
        out.append(event, sent.size() + 1);
    } else {
        // "error", or part of it: no field that any client knows, so the
        // line may end here.
        out += '\n';
        out += event;
    }
}

} // namespace

std::unique_ptr<Adapter> make_passthrough(std::string_view path, EndMark mark)
{
    return std::make_unique<Passthrough>(path, mark);
}

} // namespace llmproxy
