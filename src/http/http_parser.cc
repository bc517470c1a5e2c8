// Requests from the bytes of one connection. Three judges, one after the
// other: the end of a header block is looked for here, header_lint judges the
// block, and llhttp then parses it again and frames the body; what lint and
// llhttp make of a head must be the same. Around llhttp: limits on the body,
// on the bytes of chunk framing, on chunk extensions and trailers.
//
// What comes out never depends on how the input was cut: a fault belongs to a
// position in the byte stream, and the first position wins.
#include "llm_proxy/http/http_parser.h"

#include "llm_proxy/base/strings.h"

#include <llhttp.h>

#if LLHTTP_VERSION_MAJOR < 9 && !LLHTTP_STRICT_MODE
#error "llhttp before 9 must be compiled with LLHTTP_STRICT_MODE=1"
#endif

namespace llmproxy
{

namespace
{

// What a request line may hold besides its target: the longest method, two
// spaces, the version, CR.
constexpr size_t kRequestLineRest = 32;
constexpr int kMaxBlankLines = 2;
// Size lines, extensions and trailers may come to the bytes of the body and
// this; a one-byte chunk costs five more.
constexpr uint64_t kFramingSlack = 16384;

} // namespace

// Its address is given to llhttp, so it is never moved.
class HttpParser::Impl
{
public:
    explicit Impl(const LintLimits &limits);

    HttpEvent next(std::string_view in, size_t &consumed);

    uint64_t max_body_ = UINT64_MAX;
    RequestHead head_; // views into text_
    std::string_view body_;
    HttpFault fault_;

    enum class State { Between, Head, Body, Failed };
    State state_ = State::Between;

private:
    static int on_headers_complete(llhttp_t *parser) noexcept;
    static int on_chunk_header(llhttp_t *parser) noexcept;
    static int on_body(llhttp_t *parser, const char *at, size_t size) noexcept;
    static int on_message_complete(llhttp_t *parser) noexcept;

    bool skip_blank_lines(std::string_view in, size_t &consumed);
    HttpEvent collect_head(std::string_view in, size_t &consumed);
    HttpEvent judge_head();
    bool agrees() const;
    bool execute(std::string_view in, size_t &took);
    HttpEvent follow_body(std::string_view in, size_t &consumed);
    bool judge_framing(std::string_view bytes);
    bool judge_chunk();
    HttpEvent complete();
    HttpEvent fail(int status, const char *rule, const char *message);

    const LintLimits limits_;
    llhttp_settings_t settings_;
    llhttp_t llhttp_;

    // Between heads and in one.
    std::string text_;      // the block so far
    size_t line_start_ = 0; // of the block's last line
    int blank_lines_ = 0;
    bool after_cr_ = false; // of a blank line

    // In a message: what llhttp's callbacks left, and what was counted.
    bool headers_complete_ = false;
    bool message_complete_ = false;
    bool chunk_begins_ = false;
    bool last_chunk_ = false;
    bool in_quotes_ = false; // of a chunk extension
    bool after_backslash_ = false;
    uint64_t announced_ = 0; // length of the body or of the chunk
    uint64_t body_bytes_ = 0;
    uint64_t framing_bytes_ = 0;
    std::string trailers_;
};

HttpParser::Impl::Impl(const LintLimits &limits) : limits_(limits)
{
    llhttp_settings_init(&settings_);
    settings_.on_headers_complete = on_headers_complete;
    settings_.on_chunk_header = on_chunk_header;
    settings_.on_body = on_body;
    settings_.on_message_complete = on_message_complete;
    llhttp_init(&llhttp_, HTTP_REQUEST, &settings_);
    head_.fields.reserve(16);
}

int HttpParser::Impl::on_headers_complete(llhttp_t *parser) noexcept
{
    auto *self = static_cast<Impl *>(parser->data);
    self->headers_complete_ = true;
    self->announced_ = parser->content_length;
    // An offer to upgrade is not taken up; llhttp would stop parsing here.
    parser->upgrade = 0;
    return HPE_OK;
}

int HttpParser::Impl::on_chunk_header(llhttp_t *parser) noexcept
{
    auto *self = static_cast<Impl *>(parser->data);
    self->chunk_begins_ = true;
    self->announced_ = parser->content_length;
    return HPE_PAUSED;
}

int HttpParser::Impl::on_body(llhttp_t *parser, const char *at,
                              size_t size) noexcept
{
    static_cast<Impl *>(parser->data)->body_ = std::string_view(at, size);
    return HPE_PAUSED;
}

int HttpParser::Impl::on_message_complete(llhttp_t *parser) noexcept
{
    static_cast<Impl *>(parser->data)->message_complete_ = true;
    return HPE_PAUSED;
}

HttpEvent HttpParser::Impl::fail(int status, const char *rule,
                                 const char *message)
{
    state_ = State::Failed;
    fault_.status = status;
    fault_.rule = rule;
    fault_.message = message;
    return HttpEvent::Fault;
}

HttpEvent HttpParser::Impl::next(std::string_view in, size_t &consumed)
{
    consumed = 0;
    switch (state_) {
    case State::Between:
        if (!skip_blank_lines(in, consumed)) {
            return state_ == State::Failed ? HttpEvent::Fault
                                           : HttpEvent::NeedMore;
        }
        return collect_head(in, consumed);
    case State::Head:
        return collect_head(in, consumed);
    case State::Body:
        return follow_body(in, consumed);
    case State::Failed:
        break;
    }
    return HttpEvent::Fault;
}

// Gets to the first byte of a request line: true if it is there. Refuses at
// once what can never become one, such as a TLS hello.
bool HttpParser::Impl::skip_blank_lines(std::string_view in, size_t &consumed)
{
    for (; consumed < in.size(); consumed++) {
        const char c = in[consumed];
        if (after_cr_) {
            if (c != '\n') {
                fail(400, "L1", "A CR stands without an LF.");
                return false;
            }
            after_cr_ = false;
            if (++blank_lines_ > kMaxBlankLines) {
                fail(400, "L10",
                     "There are too many empty lines before the request.");
                return false;
            }
        } else if (c == '\r') {
            after_cr_ = true;
        } else if (c < 'A' || c > 'Z') {
            fail(400, "L2", "This is not an HTTP request.");
            return false;
        } else {
            state_ = State::Head;
            text_.clear();
            line_start_ = 0;
            blank_lines_ = 0;
            return true;
        }
    }
    return false;
}

HttpEvent HttpParser::Impl::collect_head(std::string_view in, size_t &consumed)
{
    const std::string_view part =
        in.substr(consumed, limits_.max_block - text_.size());
    size_t from = 0;
    for (;;) {
        const size_t lf = part.find('\n', from);
        const bool found = lf != std::string_view::npos;
        const size_t line_end = text_.size() + (found ? lf : part.size());
        if (line_start_ == 0 &&
            line_end > limits_.max_target + kRequestLineRest) {
            return fail(414, "L4", "The request line is too long.");
        }
        if (!found) {
            break;
        }
        const char before = lf > 0 ? part[lf - 1] : text_.back();
        if (before != '\r') {
            return fail(400, "L1", "A line ends with LF without a CR.");
        }
        if (line_end == line_start_ + 1) {
            text_.append(part, 0, lf + 1);
            consumed += lf + 1;
            return judge_head();
        }
        line_start_ = line_end + 1;
        from = lf + 1;
    }
    text_ += part;
    consumed += part.size();
    if (text_.size() == limits_.max_block) {
        return fail(431, "L4", "The header block is too large.");
    }
    return HttpEvent::NeedMore;
}

HttpEvent HttpParser::Impl::judge_head()
{
    if (!lint_head(text_, limits_, head_, fault_)) {
        state_ = State::Failed;
        return HttpEvent::Fault;
    }
    headers_complete_ = false;
    message_complete_ = false;
    chunk_begins_ = false;
    last_chunk_ = false;
    in_quotes_ = false;
    after_backslash_ = false;
    body_bytes_ = 0;
    framing_bytes_ = 0;
    trailers_.clear();
    llhttp_init(&llhttp_, HTTP_REQUEST, &settings_);
    llhttp_.data = this;
    size_t took = 0;
    if (!execute(text_, took) || took != text_.size() || !agrees()) {
        return fail(400, "llhttp", "The request's head is malformed.");
    }
    state_ = State::Body;
    return HttpEvent::Head;
}

// llhttp must have read the head as lint_head did.
bool HttpParser::Impl::agrees() const
{
    const bool chunked = (llhttp_.flags & F_CHUNKED) != 0;
    return headers_complete_ &&
           std::string_view(llhttp_method_name(static_cast<llhttp_method_t>(
               llhttp_.method))) == method_name(head_.method) &&
           llhttp_.http_major == 1 &&
           llhttp_.http_minor == head_.minor_version &&
           chunked == head_.chunked && announced_ == head_.content_length &&
           message_complete_ == (!chunked && head_.content_length == 0);
}

// Gives `in` to llhttp up to its next pause; false if llhttp refuses it.
bool HttpParser::Impl::execute(std::string_view in, size_t &took)
{
    body_ = {};
    const llhttp_errno_t code = llhttp_execute(&llhttp_, in.data(), in.size());
    if (code == HPE_OK) {
        took = in.size();
        return true;
    }
    if (code != HPE_PAUSED) {
        return false;
    }
    took = static_cast<size_t>(llhttp_get_error_pos(&llhttp_) - in.data());
    llhttp_resume(&llhttp_);
    return true;
}

HttpEvent HttpParser::Impl::follow_body(std::string_view in, size_t &consumed)
{
    if (in.data() == nullptr) {
        in = ""; // llhttp adds the length to the pointer
    }
    if (head_.content_length > max_body_) {
        return fail(413, "body", "The request body is too large.");
    }
    while (!message_complete_) {
        const std::string_view rest = in.substr(consumed);
        size_t took = 0;
        if (!execute(rest, took)) {
            return fail(400, "llhttp", "The request's body is malformed.");
        }
        consumed += took;
        // A pause leaves at most one of: a piece of the body, which is the
        // last of what was taken; the begin of a chunk; the end.
        if (head_.chunked &&
            !judge_framing(rest.substr(0, took - body_.size()))) {
            return HttpEvent::Fault;
        }
        if (chunk_begins_ && !judge_chunk()) {
            return HttpEvent::Fault;
        }
        if (!body_.empty()) {
            body_bytes_ += body_.size();
            return HttpEvent::Body;
        }
        if (consumed == in.size() && !message_complete_ && !chunk_begins_) {
            return HttpEvent::NeedMore;
        }
        chunk_begins_ = false;
    }
    return complete();
}

// Bytes of a chunked body that are none of its data.
bool HttpParser::Impl::judge_framing(std::string_view bytes)
{
    framing_bytes_ += bytes.size();
    if (framing_bytes_ > body_bytes_ + kFramingSlack) {
        fail(400, "chunk", "The body has more chunk framing than data.");
        return false;
    }
    if (last_chunk_) {
        trailers_ += bytes;
        return true;
    }
    for (const char c : bytes) {
        if (in_quotes_ && after_backslash_) {
            after_backslash_ = false;
        } else if (c == '"') {
            in_quotes_ = !in_quotes_;
        } else if (c == '\\') {
            after_backslash_ = in_quotes_;
        }
    }
    return true;
}

bool HttpParser::Impl::judge_chunk()
{
    if (in_quotes_) {
        fail(400, "chunk", "A chunk extension has an open quote.");
        return false;
    }
    if (announced_ > max_body_ - body_bytes_) {
        fail(413, "body", "The request body is too large.");
        return false;
    }
    last_chunk_ = announced_ == 0;
    return true;
}

HttpEvent HttpParser::Impl::complete()
{
    if (head_.chunked && !lint_trailers(trailers_, limits_, fault_)) {
        state_ = State::Failed;
        return HttpEvent::Fault;
    }
    state_ = State::Between;
    return HttpEvent::Complete;
}

std::string HttpParser::version()
{
    return library_version("llhttp", "",
                           std::to_string(LLHTTP_VERSION_MAJOR) + "." +
                               std::to_string(LLHTTP_VERSION_MINOR) + "." +
                               std::to_string(LLHTTP_VERSION_PATCH));
}

HttpParser::HttpParser(const LintLimits &limits)
    : impl_(std::make_unique<Impl>(limits))
{
}

HttpParser::~HttpParser() = default;

HttpEvent HttpParser::next(std::string_view in, size_t &consumed)
{
    return impl_->next(in, consumed);
}

void HttpParser::set_max_body(uint64_t bytes)
{
    impl_->max_body_ = bytes;
}

const RequestHead &HttpParser::head() const
{
    return impl_->head_;
}

std::string_view HttpParser::body() const
{
    return impl_->body_;
}

const HttpFault &HttpParser::fault() const
{
    return impl_->fault_;
}

bool HttpParser::idle() const
{
    return impl_->state_ == Impl::State::Between;
}

bool HttpParser::in_head() const
{
    return impl_->state_ == Impl::State::Head;
}

} // namespace llmproxy
