#ifndef LLM_PROXY_HTTP_SSE_H
#define LLM_PROXY_HTTP_SSE_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llmproxy
{

// Which line says that a stream is whole.
enum class EndMark {
    None,      // the endpoint does not stream
    Done,      // "data: [DONE]"
    Responses, // "event: response.completed" (or .incomplete, .failed)
};

// Follows a stream of server-sent events as it passes by, in any pieces, and
// keeps no more of it than where it stands. Lines end with LF or CRLF, split
// over two reads or not; a CR alone ends none. Marks count only at a line's
// start (prompts and answers may contain them).
class SseTracker
{
public:
    explicit SseTracker(EndMark mark) : mark_(mark) {}

    enum class Stop {
        None,      // all of the input was followed
        EndOfMark, // the event with the end mark is complete: stream is whole
        ErrorLine, // a line begins with data: {"error" or data:{"error" or
                   // error: and the position is just behind that prefix
    };
    // Follows `in` up to a stop; returns why, and in `used` how far it got.
    // Whatever is before `used` may be sent on at once.
    Stop follow(std::string_view in, size_t &used);

    // The bytes so far end an event (or there were none): a comment or an
    // event of our own may go in here.
    bool at_event_end() const;
    // The first bytes, 32 at most, of the line that has not ended yet; after
    // ErrorLine exactly the prefix. Valid until the next follow().
    std::string_view line_start() const
    {
        return {start_, std::min(line_length_, sizeof(start_))};
    }
    // Complete events seen, comments not counted.
    uint64_t events() const { return events_; }

private:
    bool end_line();

    EndMark mark_;
    char start_[32]; // how the current line begins: enough for every mark
    size_t line_length_ = 0;        // of the current line, so far
    bool in_block_ = false;         // a line since the last blank one
    bool event_has_fields_ = false; // one of them is no comment
    bool event_has_mark_ = false;
    uint64_t events_ = 0;
};

} // namespace llmproxy

#endif
