// Speaks to those of Ollama's endpoints that generate: the request translated,
// the answer's lines turned into the events or the object that OpenAI's clients
// expect. What is special to one endpoint is in its NativeEndpoint and in its
// writer. An answer counts as whole only where Ollama said that it is done; an
// end without that is how it reports that its runner failed.

#include "ollama_generation.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/http/ndjson.h"

#include <algorithm>
#include <utility>

#include "backend_error.h"
#include "head.h"
#include "held_text.h"
#include "ollama_line.h"
#include "skeleton.h"
#include "timestamp.h"

namespace llmproxy
{

namespace
{

// How much sooner bytes are copied, or looked at, than parsed, at least.
constexpr size_t kCopyShare = 64;

class OllamaGeneration final : public Adapter
{
public:
    OllamaGeneration(const NativeEndpoint &endpoint,
                     std::unique_ptr<AnswerWriter> writer)
        : endpoint_(endpoint), writer_(std::move(writer))
    {
    }
    bool starts_long(const ClientRequest &request) const override;
    bool start(const ClientRequest &request, UpstreamRequest &out,
               ApiError &err) override;
    AdaptStatus reply_head(const ReplyHead &head) override;
    AdaptStatus reply_data(std::string_view in, std::string &out) override;
    AdaptStatus reply_end(std::string &out) override;
    AdaptStatus reply_long(std::string &out) override;
    bool keeps_body() const override { return wishes_.prompts > 1; }
    size_t held() const override
    {
        return held_.size() + rest_.size() + choices_.size() + splitter_.held();
    }
    const AnswerShape &shape() const override { return shape_; }
    const ApiError &error() const override { return error_; }
    bool streaming() const override { return wishes_.stream; }
    // Whole events only.
    bool at_event_end() const override { return true; }
    void append_error(const ApiError &error, std::string &out) override;
    Usage usage() const override { return usage_; }
    uint64_t pieces() const override { return writer_->events(); }

private:
    enum class State { Refusal, Whole, Lines };

    // A step that parses so many bytes is one for the helper.
    bool is_long(size_t parsed) const
    {
        return parsed + writer_->lead() / kCopyShare > kLongWork;
    }
    AdaptStatus fail(ApiErrorKind kind, std::string message);
    AdaptStatus fail_unfinished();
    AdaptStatus fail_as_said();
    AdaptStatus finish_refusal();
    AdaptStatus finish_whole(std::string &out);
    AdaptStatus on_line(std::string_view text, std::string &out);
    AdaptStatus on_other_line(std::string_view text, std::string &out);
    void begin_answer(std::string_view created_at);
    void sum_up(OllamaLine &line);
    AdaptStatus next_prompt();
    bool is_last() const { return wishes_.prompt + 1 == wishes_.prompts; }

    const NativeEndpoint &endpoint_;
    std::unique_ptr<AnswerWriter> writer_;
    State state_ = State::Refusal;
    Wishes wishes_;
    LineSplitter splitter_{kMaxLine};
    // A refusal's text, an answer that is not streamed, or a long line.
    HeldText held_;
    std::string rest_;    // came behind the long line
    std::string choices_; // of an answer that is not streamed
    AnswerShape shape_;
    ApiError error_;
    Usage usage_;
    int64_t cached_ = -1;
    std::string backend_;
    int64_t now_s_ = 0;
    int status_ = 0;
    int retry_after_s_ = 0;
    bool started_ = false;
    bool answering_ = false; // the first line was read
    bool can_relax_ = false; // the request may be sent without reasoning
};

bool OllamaGeneration::starts_long(const ClientRequest &request) const
{
    // Images are looked at, and a prompt may have to be copied for its echo.
    return skeleton_size(request.body, request.facts) +
               request.body.size() / kCopyShare >
           kLongWork;
}

bool OllamaGeneration::start(const ClientRequest &request, UpstreamRequest &out,
                             ApiError &err)
{
    Wishes wishes;
    wishes.without_reasoning = wishes_.without_reasoning;
    wishes.prompt = wishes_.prompt;
    wishes_ = std::move(wishes);
    shape_ = AnswerShape();
    splitter_ = LineSplitter(kMaxLine);
    if (!translate_request(endpoint_, request, out, wishes_, err)) {
        return false;
    }
    can_relax_ = request.config.ollama_relax_think && wishes_.reasoning;
    out.headers = request_headers(
        request, wishes_.stream ? "application/x-ndjson" : "application/json");
    backend_ = request.backend.name;
    now_s_ = request.now_s;
    if (!started_) {
        started_ = true;
        writer_->begin(request, wishes_);
    }
    writer_->begin_choice(wishes_);
    shape_.sse = wishes_.stream;
    shape_.content_type = wishes_.stream ? "text/event-stream; charset=utf-8"
                                         : "application/json";
    if (!wishes_.dropped.empty()) {
        (void)shape_.extra.add("X-Proxy-Dropped-Params", wishes_.dropped);
    }
    return true;
}

AdaptStatus OllamaGeneration::fail(ApiErrorKind kind, std::string message)
{
    (void)refuse(error_, kind, std::move(message));
    return AdaptStatus::Failed;
}

AdaptStatus OllamaGeneration::fail_unfinished()
{
    error_ = unfinished_error();
    return AdaptStatus::Failed;
}

// `error_` holds what the backend said.
AdaptStatus OllamaGeneration::fail_as_said()
{
    if (error_.kind == ApiErrorKind::ContextLengthExceeded) {
        error_.param = endpoint_.subject;
    }
    return AdaptStatus::Failed;
}

AdaptStatus OllamaGeneration::reply_head(const ReplyHead &head)
{
    status_ = head.status;
    retry_after_s_ = reply_retry_after(head);
    if (head.status >= 400 && head.status <= 599) {
        state_ = State::Refusal;
        return AdaptStatus::More;
    }
    // Ollama answers one object as application/json even in a stream.
    if (!accept_ollama_reply(head, true, error_)) {
        return AdaptStatus::Failed;
    }
    state_ = wishes_.stream ? State::Lines : State::Whole;
    return AdaptStatus::More;
}

AdaptStatus OllamaGeneration::reply_data(std::string_view in, std::string &out)
{
    if (state_ == State::Refusal) {
        held_.append(in.substr(0, kMaxOllamaError - held_.size()));
        return held_.size() < kMaxOllamaError ? AdaptStatus::More
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

AdaptStatus OllamaGeneration::reply_end(std::string &out)
{
    if (state_ != State::Lines) {
        return is_long(held_.size()) ? AdaptStatus::Long : reply_long(out);
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

AdaptStatus OllamaGeneration::reply_long(std::string &out)
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

AdaptStatus OllamaGeneration::finish_refusal()
{
    const std::string text = held_.take();
    error_ = map_ollama_error({status_, retry_after_s_, text, backend_});
    // Programs ask every model for it.
    if (can_relax_ && status_ == 400 &&
        ends_with(error_.message, "does not support thinking")) {
        wishes_.without_reasoning = true;
        return AdaptStatus::Again;
    }
    return fail_as_said();
}

AdaptStatus OllamaGeneration::finish_whole(std::string &out)
{
    OllamaLine line;
    const std::string text = held_.take();
    if (text.empty()) {
        return fail_unfinished();
    }
    if (!read_common_end(text, endpoint_.lines, line) &&
        !read_line(text, endpoint_.lines, line, error_)) {
        return fail_as_said();
    }
    if (!line.answers) {
        return fail(ApiErrorKind::BackendBadResponse,
                    "The backend's answer holds no text, not even an empty "
                    "one.");
    }
    if (!line.done) {
        return fail_unfinished();
    }
    begin_answer(line.created_at);
    sum_up(line);
    writer_->whole(line, is_last(), choices_);
    if (!is_last()) {
        return next_prompt();
    }
    shape_.length = choices_.size();
    if (out.empty()) {
        out.swap(choices_);
    } else {
        out += choices_;
    }
    return AdaptStatus::Done;
}

// Adds what the answers to earlier prompts took.
void OllamaGeneration::sum_up(OllamaLine &line)
{
    if (wishes_.prompt > 0) {
        line.prompt_tokens += usage_.prompt;
        line.completion_tokens += usage_.completion;
        if (cached_ >= 0) {
            line.cached_tokens =
                cached_ + std::max<int64_t>(line.cached_tokens, 0);
        }
    }
    usage_ = {line.prompt_tokens, line.completion_tokens};
    cached_ = line.cached_tokens;
}

AdaptStatus OllamaGeneration::next_prompt()
{
    wishes_.prompt++;
    return AdaptStatus::Again;
}

void OllamaGeneration::begin_answer(std::string_view created_at)
{
    if (!answering_) {
        answering_ = true;
        writer_->set_created(unix_seconds(created_at, now_s_));
    }
}

AdaptStatus OllamaGeneration::on_line(std::string_view text, std::string &out)
{
    CommonLine common;
    if (!is_long(text.size() / kCopyShare) &&
        read_common_line(text, endpoint_.lines, common)) {
        begin_answer(common.created_at);
        writer_->common_chunk(common.text, out);
        return AdaptStatus::More;
    }
    if (is_long(text.size())) {
        held_.append(text);
        return AdaptStatus::Long;
    }
    return on_other_line(text, out);
}

AdaptStatus OllamaGeneration::on_other_line(std::string_view text,
                                            std::string &out)
{
    OllamaLine line;
    if (!read_common_end(text, endpoint_.lines, line) &&
        !read_line(text, endpoint_.lines, line, error_)) {
        return fail_as_said();
    }
    if (!line.answers && !line.says_if_done) {
        // Ollama 0.11.3 says {"error parsing tool call": "..."}.
        return fail(ApiErrorKind::BackendError, printable(text));
    }
    begin_answer(line.created_at);
    if (!line.done) {
        writer_->chunks(line, out);
        return AdaptStatus::More;
    }
    sum_up(line);
    writer_->end(line, is_last(), out);
    return is_last() ? AdaptStatus::Done : next_prompt();
}

void OllamaGeneration::append_error(const ApiError &error, std::string &out)
{
    if (wishes_.stream) {
        out += api_error_event(error);
    }
}

} // namespace

std::unique_ptr<Adapter> make_generation(const NativeEndpoint &endpoint,
                                         std::unique_ptr<AnswerWriter> writer)
{
    return std::make_unique<OllamaGeneration>(endpoint, std::move(writer));
}

} // namespace llmproxy
