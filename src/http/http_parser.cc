// Requests out of a connection's bytes. Three judges in a row: the lint of the
// head (or of chunk framing), llhttp in strict mode, and the comparison of
// what both understood. llhttp alone is lenient in ways that smuggle.
#include "llm_proxy/http/http_parser.h"

#include <cstring>
#include <memory>
#include <string>

#include <llhttp.h>

#include "chunk_lint.h"

#if LLHTTP_VERSION_MAJOR < 9 && !defined(LLHTTP_STRICT_MODE)
#error "llhttp 8 must be compiled with LLHTTP_STRICT_MODE=1, here as there"
#endif

namespace llmproxy
{

namespace
{

constexpr HttpFault kBadHttp = {400, "framing",
                                "The request's framing is not valid."};
constexpr HttpFault kBadHead = {400, "parser",
                                "The request is not valid HTTP/1.1."};
constexpr HttpFault kNotHttp = {400, "not-http",
                                "This is not an HTTP request."};
constexpr HttpFault kLineEnd = {400, "line-end",
                                "A header line does not end in CR LF."};
constexpr HttpFault kEmptyLines = {
    400, "empty-lines", "Too many empty lines before the request line."};
constexpr HttpFault kBlockTooLong = {
    431, "block-length", "The request's header fields are too large."};
constexpr HttpFault kTargetTooLong = {414, "target-length",
                                      "The URL is too long."};
constexpr HttpFault kTooLarge = {413, "body-length",
                                 "The request body is too large."};

// RFC 9112 2.2 lets a server skip empty lines; more than this is no client.
constexpr int kMaxEmptyLines = 2;
// A request line is a target, a method and a version.
constexpr size_t kLineBesideTarget = 64;

} // namespace

class HttpParser::Impl
{
public:
    explicit Impl(const LintLimits &given) : limits(given)
    {
        llhttp_settings_init(&settings);
        settings.on_headers_complete = headers_complete_cb;
        settings.on_body = body_cb;
        settings.on_message_complete = message_complete_cb;
        llhttp_init(&parser, HTTP_REQUEST, &settings);
        parser.data = this;
    }

    HttpEvent next_in_head(std::string_view in, size_t &consumed);
    HttpEvent next_in_body(std::string_view in, size_t &consumed);
    bool skip_empty_lines(std::string_view &in, size_t &consumed);
    bool take_lines(std::string_view in, size_t &consumed, bool &whole);
    HttpEvent finish_head();
    bool judge_chunks(std::string_view bytes);
    HttpEvent fail(const HttpFault &why)
    {
        fault = why;
        failed = true;
        return HttpEvent::Fault;
    }
    void begin_message()
    {
        // The next head is read as if the connection were new: nothing that
        // llhttp remembers of this one can make it read the next differently.
        llhttp_reset(&parser);
        chunks.reset();
        text.clear();
        line_begin = 0;
        empty_lines = 0;
        in_body = false;
        headers_complete = false;
        message_complete = false;
        chunks_complete = false;
    }

    static int headers_complete_cb(llhttp_t *parser) noexcept
    {
        static_cast<Impl *>(parser->data)->headers_complete = true;
        // An upgrade is ignored: body and pipelined bytes are still HTTP.
        parser->upgrade = 0;
        return 0;
    }
    static int body_cb(llhttp_t *parser, const char *at, size_t length) noexcept
    {
        if (length == 0) {
            return 0; // called so when executed without input
        }
        Impl *self = static_cast<Impl *>(parser->data);
        self->body = std::string_view(at, length);
        self->piece_taken = true;
        return HPE_PAUSED;
    }
    static int message_complete_cb(llhttp_t *parser) noexcept
    {
        static_cast<Impl *>(parser->data)->message_complete = true;
        return HPE_PAUSED;
    }

    LintLimits limits;
    llhttp_settings_t settings;
    llhttp_t parser;
    std::string text;      // the head's block; head's views point into it
    size_t line_begin = 0; // of the line in `text` that is not whole yet
    RequestHead head;
    HttpFault fault;
    ChunkLint chunks;
    std::string_view body;
    int empty_lines = 0;
    bool lone_cr = false; // the CR of an empty line in front of the request
    bool in_body = false;
    bool headers_complete = false;
    bool message_complete = false;
    bool chunks_complete = false;
    bool piece_taken = false; // a Body event came out of the last execution
    bool failed = false;
};

// Takes empty lines off the front of a message. False = refused.
bool HttpParser::Impl::skip_empty_lines(std::string_view &in, size_t &consumed)
{
    while (!in.empty() && text.empty()) {
        if (lone_cr ? in.front() != '\n' : in.front() == '\n') {
            fault = kLineEnd;
            return false;
        }
        if (!lone_cr && in.front() != '\r') {
            break;
        }
        if (lone_cr && ++empty_lines > kMaxEmptyLines) {
            fault = kEmptyLines;
            return false;
        }
        lone_cr = !lone_cr;
        in.remove_prefix(1);
        consumed++;
    }
    // A method begins with a letter; other protocols mostly do not.
    if (!in.empty() && text.empty() &&
        (in.front() < 'A' || in.front() > 'z' ||
         (in.front() > 'Z' && in.front() < 'a'))) {
        fault = kNotHttp;
        return false;
    }
    return true;
}

// Moves whole and partial lines to `text` up to the empty one, refusing what
// can become no header block as soon as it is seen. False = refused.
bool HttpParser::Impl::take_lines(std::string_view in, size_t &consumed,
                                  bool &whole)
{
    while (!whole && !in.empty()) {
        const size_t lf = in.find('\n');
        const bool ended = lf != std::string_view::npos;
        const std::string_view piece = in.substr(0, ended ? lf + 1 : lf);
        const size_t length = text.size() - line_begin + piece.size();
        if (line_begin == 0 && length > limits.max_target + kLineBesideTarget) {
            fault = kTargetTooLong;
            return false;
        }
        if (text.size() + piece.size() > limits.max_block) {
            fault = kBlockTooLong;
            return false;
        }
        text.append(piece);
        consumed += piece.size();
        in.remove_prefix(piece.size());
        // The only CR stands right before the LF, or is the last byte yet.
        const std::string_view line = std::string_view(text).substr(line_begin);
        const size_t cr = line.find('\r');
        if (ended ? cr + 2 != line.size()
                  : cr != std::string_view::npos && cr + 1 != line.size()) {
            fault = kLineEnd;
            return false;
        }
        if (ended) {
            line_begin = text.size();
            whole = line.size() == 2;
        }
    }
    return true;
}

HttpEvent HttpParser::Impl::next_in_head(std::string_view in, size_t &consumed)
{
    if (text.empty() && !skip_empty_lines(in, consumed)) {
        return fail(fault);
    }
    if (in.empty()) {
        return HttpEvent::NeedMore;
    }
    bool whole = false;
    if (!take_lines(in, consumed, whole)) {
        return fail(fault);
    }
    return whole ? finish_head() : HttpEvent::NeedMore;
}

HttpEvent HttpParser::Impl::finish_head()
{
    if (!lint_head(text, limits, head, fault)) {
        return fail(fault);
    }
    const llhttp_errno_t result =
        llhttp_execute(&parser, text.data(), text.size());
    if (result == HPE_PAUSED && message_complete) {
        llhttp_resume(&parser);
    } else if (result != HPE_OK) {
        return fail(kBadHead);
    }
    const bool has_body =
        head.chunked || (head.has_length && head.content_length > 0);
    // A recipient behind us could side with either of two readings.
    if (!headers_complete || message_complete == has_body ||
        strcmp(llhttp_method_name(static_cast<llhttp_method_t>(parser.method)),
               method_name(head.method)) != 0 ||
        parser.http_major != 1 || parser.http_minor != head.minor_version ||
        (has_body && !head.chunked &&
         parser.content_length != head.content_length)) {
        return fail(kBadHead);
    }
    in_body = true;
    return HttpEvent::Head;
}

HttpEvent HttpParser::Impl::next_in_body(std::string_view in, size_t &consumed)
{
    // After a piece llhttp goes on without further input: the message may end
    // right behind it.
    while (!message_complete && (!in.empty() || piece_taken)) {
        piece_taken = false;
        const llhttp_errno_t result =
            llhttp_execute(&parser, in.data(), in.size());
        size_t used = in.size();
        if (result == HPE_PAUSED) {
            used =
                static_cast<size_t>(llhttp_get_error_pos(&parser) - in.data());
            llhttp_resume(&parser);
        } else if (result != HPE_OK) {
            return fail(kBadHttp);
        }
        if (head.chunked && !judge_chunks(in.substr(0, used))) {
            return fail(fault);
        }
        consumed += used;
        in.remove_prefix(used);
        if (piece_taken) {
            return HttpEvent::Body;
        }
    }
    if (!message_complete) {
        return HttpEvent::NeedMore;
    }
    begin_message();
    return HttpEvent::Complete;
}

// What llhttp has consumed must be well-formed by the lint's rules too, and
// both must see the end of the message in the same place.
bool HttpParser::Impl::judge_chunks(std::string_view bytes)
{
    size_t used = 0;
    switch (chunks.look(bytes, used)) {
    case ChunkLint::Verdict::Bad:
        fault = kBadHttp;
        return false;
    case ChunkLint::Verdict::TooLarge:
        fault = kTooLarge;
        return false;
    case ChunkLint::Verdict::More:
        chunks_complete = false;
        break;
    case ChunkLint::Verdict::Complete:
        chunks_complete = used == bytes.size();
        break;
    }
    fault = kBadHttp;
    return chunks_complete == message_complete;
}

HttpParser::HttpParser(const LintLimits &limits)
    : impl_(std::make_unique<Impl>(limits))
{
}

HttpParser::~HttpParser() = default;

HttpEvent HttpParser::next(std::string_view in, size_t &consumed)
{
    consumed = 0;
    if (impl_->failed) {
        return HttpEvent::Fault;
    }
    return impl_->in_body ? impl_->next_in_body(in, consumed)
                          : impl_->next_in_head(in, consumed);
}

void HttpParser::set_max_body(uint64_t bytes)
{
    impl_->chunks.set_max_data(bytes);
}

const RequestHead &HttpParser::head() const
{
    return impl_->head;
}

std::string_view HttpParser::body() const
{
    return impl_->body;
}

const HttpFault &HttpParser::fault() const
{
    return impl_->fault;
}

bool HttpParser::idle() const
{
    return in_head() && impl_->text.empty() && !impl_->lone_cr;
}

bool HttpParser::in_head() const
{
    return !impl_->in_body && !impl_->failed;
}

} // namespace llmproxy
