// Speaks to Ollama's /api/chat: the request translated, the answer's lines
// turned into the events or the object that OpenAI's clients expect. An answer
// counts as whole only where Ollama said that it is done; an end without that
// is how it reports that its runner failed.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/http/ndjson.h"

#include <utility>

#include "backend_error.h"
#include "chat_writer.h"
#include "head.h"
#include "held_text.h"
#include "ollama_line.h"
#include "ollama_request.h"
#include "skeleton.h"
#include "timestamp.h"

namespace llmproxy
{

namespace
{

class OllamaChat final : public Adapter
{
public:
    bool starts_long(const ClientRequest &request) const override;
    bool start(const ClientRequest &request, UpstreamRequest &out,
               ApiError &err) override;
    AdaptStatus reply_head(const ReplyHead &head) override;
    AdaptStatus reply_data(std::string_view in, std::string &out) override;
    AdaptStatus reply_end(std::string &out) override;
    AdaptStatus reply_long(std::string &out) override;
    const AnswerShape &shape() const override { return shape_; }
    const ApiError &error() const override { return error_; }
    bool streaming() const override { return wishes_.stream; }
    // Whole events only.
    bool at_event_end() const override { return true; }
    void append_error(const ApiError &error, std::string &out) override;
    Usage usage() const override { return usage_; }
    uint64_t pieces() const override { return writer_.events(); }

private:
    enum class State { Refusal, Whole, Lines };

    AdaptStatus fail(ApiErrorKind kind, const char *message);
    AdaptStatus fail_unfinished();
    AdaptStatus finish_refusal();
    AdaptStatus finish_whole(std::string &out);
    AdaptStatus on_line(std::string_view text, std::string &out);
    AdaptStatus on_other_line(std::string_view text, std::string &out);
    void begin_answer(std::string_view created_at);

    State state_ = State::Refusal;
    ChatWishes wishes_;
    ChatWriter writer_;
    LineSplitter splitter_{kMaxLine};
    // A refusal's text, an answer that is not streamed, or a long line.
    HeldText held_;
    std::string rest_; // came behind the long line
    AnswerShape shape_;
    ApiError error_;
    Usage usage_;
    std::string backend_;
    int64_t now_s_ = 0;
    int status_ = 0;
    int retry_after_s_ = 0;
};

bool OllamaChat::starts_long(const ClientRequest &request) const
{
    return skeleton_size(request.body, request.facts) > kLongWork;
}

bool OllamaChat::start(const ClientRequest &request, UpstreamRequest &out,
                       ApiError &err)
{
    if (!translate_chat_request(request, out, wishes_, err)) {
        return false;
    }
    out.headers = request_headers(
        request, wishes_.stream ? "application/x-ndjson" : "application/json");
    backend_ = request.backend.name;
    now_s_ = request.now_s;
    writer_.begin(request.sent_model, request.config.reasoning_field,
                  wishes_.stream);
    shape_.sse = wishes_.stream;
    shape_.content_type = wishes_.stream ? "text/event-stream; charset=utf-8"
                                         : "application/json";
    if (!wishes_.dropped.empty()) {
        (void)shape_.extra.add("X-Proxy-Dropped-Params", wishes_.dropped);
    }
    return true;
}

AdaptStatus OllamaChat::fail(ApiErrorKind kind, const char *message)
{
    (void)refuse(error_, kind, message);
    return AdaptStatus::Failed;
}

AdaptStatus OllamaChat::fail_unfinished()
{
    (void)fail(ApiErrorKind::BackendError,
               "the backend ended its answer without finishing it");
    // It would end in the same way again.
    error_.no_retry = true;
    return AdaptStatus::Failed;
}

AdaptStatus OllamaChat::reply_head(const ReplyHead &head)
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
    // Ollama answers one object as application/json even in a stream.
    if (!has_media_type(head, "application/x-ndjson") &&
        !has_media_type(head, "application/json")) {
        return fail(ApiErrorKind::BackendBadResponse,
                    "The backend's answer is not JSON; check its base URL.");
    }
    state_ = wishes_.stream ? State::Lines : State::Whole;
    return AdaptStatus::More;
}

AdaptStatus OllamaChat::reply_data(std::string_view in, std::string &out)
{
    if (state_ == State::Refusal) {
        held_.append(in.substr(0, kMaxErrorBody - held_.size()));
        return held_.size() < kMaxErrorBody ? AdaptStatus::More
                                            : AdaptStatus::Long;
    }
    if (state_ == State::Whole) {
        if (in.size() > kMaxReply - held_.size()) {
            return fail(ApiErrorKind::BackendBadResponse,
                        "The backend's answer is larger than 64 MiB.");
        }
        held_.append(in);
        return AdaptStatus::More;
    }
    for (;;) {
        std::string_view line;
        switch (splitter_.next(in, line)) {
        case LineSplitter::Result::NeedMore:
            return AdaptStatus::More;
        case LineSplitter::Result::TooLong:
            return fail(ApiErrorKind::BackendBadResponse,
                        "A line of the backend's answer is longer than "
                        "8 MiB.");
        case LineSplitter::Result::Line:
            break;
        }
        const AdaptStatus status = on_line(line, out);
        if (status == AdaptStatus::Long) {
            rest_.assign(in);
        }
        if (status != AdaptStatus::More) {
            return status;
        }
    }
}

AdaptStatus OllamaChat::reply_end(std::string &out)
{
    if (state_ != State::Lines) {
        return held_.size() > kLongWork ? AdaptStatus::Long : reply_long(out);
    }
    std::string_view line;
    if (splitter_.last(line) == LineSplitter::Result::Line) {
        const AdaptStatus status = on_line(line, out);
        if (status != AdaptStatus::More) {
            return status;
        }
    }
    return fail_unfinished();
}

AdaptStatus OllamaChat::reply_long(std::string &out)
{
    if (state_ == State::Refusal) {
        return finish_refusal();
    }
    if (state_ == State::Whole) {
        return finish_whole(out);
    }
    const AdaptStatus status = on_other_line(held_.take(), out);
    if (status != AdaptStatus::More) {
        return status;
    }
    const std::string rest = std::move(rest_);
    rest_.clear();
    return reply_data(rest, out);
}

AdaptStatus OllamaChat::finish_refusal()
{
    const std::string text = held_.take();
    error_ = map_ollama_error({status_, retry_after_s_, text, backend_});
    return AdaptStatus::Failed;
}

AdaptStatus OllamaChat::finish_whole(std::string &out)
{
    ChatLine line;
    const std::string text = held_.take();
    if (text.empty()) {
        return fail_unfinished();
    }
    if (!read_chat_line(text, line, error_)) {
        return AdaptStatus::Failed;
    }
    if (!line.done) {
        return fail_unfinished();
    }
    usage_ = {line.prompt_tokens, line.completion_tokens};
    begin_answer(line.created_at);
    const size_t before = out.size();
    writer_.completion(line, out);
    shape_.length = out.size() - before;
    return AdaptStatus::Done;
}

void OllamaChat::begin_answer(std::string_view created_at)
{
    if (!writer_.is_created()) {
        writer_.set_created(unix_seconds(created_at, now_s_));
    }
}

AdaptStatus OllamaChat::on_line(std::string_view text, std::string &out)
{
    CommonLine common;
    if (read_common_line(text, common)) {
        begin_answer(common.created_at);
        writer_.common_chunk(common.content, out);
        return AdaptStatus::More;
    }
    if (text.size() > kLongWork) {
        held_.append(text);
        return AdaptStatus::Long;
    }
    return on_other_line(text, out);
}

AdaptStatus OllamaChat::on_other_line(std::string_view text, std::string &out)
{
    ChatLine line;
    if (!read_chat_line(text, line, error_)) {
        return AdaptStatus::Failed;
    }
    begin_answer(line.created_at);
    writer_.chunks(line, out);
    if (!line.done) {
        return AdaptStatus::More;
    }
    usage_ = {line.prompt_tokens, line.completion_tokens};
    writer_.end(line, wishes_.include_usage, out);
    return AdaptStatus::Done;
}

void OllamaChat::append_error(const ApiError &error, std::string &out)
{
    if (wishes_.stream) {
        out += api_error_event(error);
    }
}

} // namespace

std::unique_ptr<Adapter> make_ollama_chat()
{
    return std::make_unique<OllamaChat>();
}

} // namespace llmproxy
