// Cuts a byte stream into lines. Only a line that was split over two inputs
// is ever copied.
#include "llm_proxy/http/ndjson.h"

namespace llmproxy
{

namespace
{

std::string_view without_cr(std::string_view line)
{
    if (!line.empty() && line.back() == '\r') {
        line.remove_suffix(1);
    }
    return line;
}

} // namespace

LineSplitter::Result LineSplitter::next(std::string_view &in,
                                        std::string_view &line)
{
    if (clear_pending_) {
        pending_.clear();
        clear_pending_ = false;
    }
    while (!in.empty()) {
        const size_t end = in.find('\n');
        const std::string_view part = in.substr(0, end);
        if (pending_.size() + part.size() > max_line_) {
            return Result::TooLong;
        }
        if (end == std::string_view::npos) {
            pending_ += part;
            in = {};
            break;
        }
        in.remove_prefix(end + 1);
        if (pending_.empty()) {
            line = without_cr(part);
        } else {
            pending_ += part;
            line = without_cr(pending_);
            clear_pending_ = true;
        }
        if (!line.empty()) {
            return Result::Line;
        }
        pending_.clear();
        clear_pending_ = false;
    }
    return Result::NeedMore;
}

LineSplitter::Result LineSplitter::last(std::string_view &line)
{
    if (clear_pending_) {
        pending_.clear();
    }
    line = without_cr(pending_);
    clear_pending_ = true;
    return line.empty() ? Result::NeedMore : Result::Line;
}

} // namespace llmproxy
