#ifndef LLM_PROXY_HTTP_HTTP_PARSER_H
#define LLM_PROXY_HTTP_HTTP_PARSER_H

#include "llm_proxy/http/header_lint.h"
#include "llm_proxy/http/message.h"

#include <cstdint>
#include <memory>
#include <string_view>

namespace llmproxy
{

enum class HttpEvent {
    NeedMore, // all input consumed, nothing to report
    Head,     // head() is complete
    Body,     // body() is a piece of the body, already without chunk framing
    Complete, // the message ended; next() begins the next one
    Fault,    // fault() says why; the connection must close, never resync
};

// Reads requests from the bytes of one connection: collects a header block,
// lints it, then lets llhttp (strict) judge it and do the framing; both must
// agree about method, length and chunking. Pull style: call next() with what
// has not been consumed yet until it says NeedMore (or the caller stops: the
// parser holds no input but an unfinished head). Trailers are dropped. Knows no
// socket and no policy but the limits.
class HttpParser
{
public:
    explicit HttpParser(const LintLimits &limits);
    ~HttpParser();
    HttpParser(const HttpParser &) = delete;
    HttpParser &operator=(const HttpParser &) = delete;
    HttpParser(HttpParser &&) = delete;
    HttpParser &operator=(HttpParser &&) = delete;

    // Looks at `in`, says how much of it was `consumed`, and what happened.
    // Body views point into `in`. After Fault always Fault.
    HttpEvent next(std::string_view in, size_t &consumed);

    // Refuse bodies over this with 413, announced or counted. Set at Head.
    void set_max_body(uint64_t bytes);
    const RequestHead &head() const;
    std::string_view body() const;
    const HttpFault &fault() const;
    // True between messages with no byte of the next one seen: idle.
    bool idle() const;
    // True while a head is incomplete.
    bool in_head() const;
    // llhttp's, for -V.
    static std::string version();

private:
    class Impl; // owns the llhttp_t; llhttp is seen in http_parser.cc only
    std::unique_ptr<Impl> impl_;
};

} // namespace llmproxy

#endif
