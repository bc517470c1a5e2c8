#ifndef LLM_PROXY_HTTP_NDJSON_H
#define LLM_PROXY_HTTP_NDJSON_H

#include <cstddef>
#include <string>
#include <string_view>

namespace llmproxy
{

// Cuts a byte stream into lines at LF, one trailing CR taken off, blank lines
// left out. A line that lies whole in one input is a view into it, without a
// copy. Lines over `max_line` bytes fail.
class LineSplitter
{
public:
    explicit LineSplitter(size_t max_line) : max_line_(max_line) {}

    enum class Result { Line, NeedMore, TooLong };
    // Takes the next line from the front of `in` (which is advanced). The
    // line lives until the next call and as long as the input does.
    Result next(std::string_view &in, std::string_view &line);
    // At the end of the stream: what stands there without an LF. Line or
    // NeedMore (nothing left).
    Result last(std::string_view &line);

    // Bytes of a line that is not whole yet.
    size_t held() const { return pending_.size(); }

private:
    size_t max_line_;
    std::string pending_;
    bool clear_pending_ = false; // the last Line was in pending_
};

} // namespace llmproxy

#endif
