// Follows a stream of server-sent events: where its lines and events end,
// whether its end mark came, whether a line reports an error.
#include "llm_proxy/http/sse.h"

#include <algorithm>
#include <cstring>

namespace llmproxy
{

namespace
{

constexpr std::string_view kErrorPrefixes[] = {"data: {\"error\"",
                                               "data:{\"error\"", "error:"};
constexpr std::string_view kDoneLines[] = {"data: [DONE]", "data:[DONE]"};
constexpr std::string_view kResponsesLines[] = {
    "event: response.completed",  "event:response.completed",
    "event: response.incomplete", "event:response.incomplete",
    "event: response.failed",     "event:response.failed"};

template <size_t N>
bool is_one_of(std::string_view text, const std::string_view (&list)[N])
{
    return std::find(list, list + N, text) != list + N;
}

bool is_mark(std::string_view line, EndMark mark)
{
    switch (mark) {
    case EndMark::None:
        return false;
    case EndMark::Done:
        return is_one_of(line, kDoneLines);
    case EndMark::Responses:
        return is_one_of(line, kResponsesLines);
    }
    return false;
}

// How long the error prefix is that `line` begins with; 0 = none.
size_t error_prefix(std::string_view line)
{
    for (const std::string_view prefix : kErrorPrefixes) {
        if (line.substr(0, prefix.size()) == prefix) {
            return prefix.size();
        }
    }
    return 0;
}

// Nearly every line is an object that does not begin with "error": neither a
// mark nor an error, so nothing of it needs to be looked at or kept.
bool is_plain_data(std::string_view line)
{
    constexpr std::string_view start = "data: {\"";
    return line.size() > start.size() &&
           line.substr(0, start.size()) == start && line[start.size()] != 'e';
}

} // namespace

// Judges the line that has just ended. True if it was the blank line that
// completes the event with the mark.
bool SseTracker::end_line()
{
    std::string_view line = line_start();
    if (!line.empty() && line.back() == '\r') {
        line.remove_suffix(1);
    }
    const bool complete_line = line_length_ <= sizeof(start_);
    line_length_ = 0;
    if (!line.empty()) {
        in_block_ = true;
        event_has_fields_ = event_has_fields_ || line.front() != ':';
        event_has_mark_ =
            event_has_mark_ || (complete_line && is_mark(line, mark_));
        return false;
    }
    const bool whole = event_has_mark_;
    events_ += event_has_fields_ ? 1 : 0;
    in_block_ = false;
    event_has_fields_ = false;
    event_has_mark_ = false;
    return whole;
}

SseTracker::Stop SseTracker::follow(std::string_view in, size_t &used)
{
    used = 0;
    while (used < in.size()) {
        const std::string_view rest = in.substr(used);
        if (line_length_ == 0 && rest.front() == '\n') {
            used++; // the end of nearly every event
            if (end_line()) {
                return Stop::EndOfMark;
            }
            continue;
        }
        const size_t end = rest.find('\n');
        const std::string_view part = rest.substr(0, end);
        if (line_length_ == 0 && end != std::string_view::npos &&
            is_plain_data(part)) {
            in_block_ = true;
            event_has_fields_ = true;
            used += end + 1;
            continue;
        }
        if (line_length_ < sizeof(start_)) {
            const size_t room = sizeof(start_) - line_length_;
            const size_t size = std::min(room, part.size());
            memcpy(start_ + line_length_, part.data(), size);
            const size_t before = line_length_;
            const size_t prefix = error_prefix({start_, before + size});
            if (prefix > before) {
                line_length_ = prefix;
                used += prefix - before;
                return Stop::ErrorLine;
            }
        }
        line_length_ += part.size();
        used += part.size();
        if (end == std::string_view::npos) {
            break;
        }
        used++;
        if (end_line()) {
            return Stop::EndOfMark;
        }
    }
    return Stop::None;
}

bool SseTracker::at_event_end() const
{
    return line_length_ == 0 && !in_block_;
}

} // namespace llmproxy
