// Reads answers for bench_load: heads only as far as their framing, chunk
// sizes, and blank lines in bodies. Copies nothing but heads.

#include "answer_reader.h"

#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <cstring>

#include "wire.h"

namespace llmproxy
{

namespace
{

constexpr uint64_t kAbsent = UINT64_MAX;
constexpr size_t kMaxHead = 65536;

// The value of a hex digit, or -1.
int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

} // namespace

bool AnswerReader::feed(std::string_view data)
{
    while (!data.empty()) {
        switch (state_) {
        case State::Head:
            data = take_head(data);
            break;
        case State::Body:
            data = take_body(data, State::Done);
            break;
        case State::Size:
            data = take_size(data);
            break;
        case State::Chunk:
            data = take_body(data, State::ChunkEnd);
            break;
        case State::ChunkEnd:
            data = take_line(data, State::Size);
            break;
        case State::Trailer:
            data = take_line(data, State::Done);
            break;
        case State::Done:
            die("bytes after the end of an answer: " + std::string(data));
        }
    }
    if (state_ != State::Done) {
        return false;
    }
    state_ = State::Head;
    return true;
}

std::string_view AnswerReader::take_head(std::string_view data)
{
    size_t before = head_.size();
    head_.append(data);
    size_t end = head_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
    if (end == std::string::npos) {
        if (head_.size() > kMaxHead) {
            die("an answer's head without an end");
        }
        return {};
    }
    data.remove_prefix(end + 4 - before);
    begin_body(std::string_view(head_).substr(0, end + 2));
    head_.clear();
    return data;
}

void AnswerReader::begin_body(std::string_view head)
{
    if (!starts_with(head, "HTTP/1.1 200 ")) {
        die("not the expected answer: " + head_);
    }
    last_ = 0;
    line_empty_ = true;
    if (iequals(header_value(head, "transfer-encoding"), "chunked")) {
        left_ = 0;
        state_ = State::Size;
        return;
    }
    left_ = content_length(head, kAbsent);
    if (left_ == kAbsent) {
        die("an answer without framing: " + head_);
    }
    state_ = left_ > 0 ? State::Body : State::Done;
}

std::string_view AnswerReader::take_body(std::string_view data, State next)
{
    size_t size = static_cast<size_t>(std::min<uint64_t>(left_, data.size()));
    std::string_view body = data.substr(0, size);
    size_t line = 0;
    for (;;) {
        size_t found = body.find('\n', line);
        if (found == std::string_view::npos) {
            break;
        }
        char before = found == 0 ? last_ : body[found - 1];
        events_ += before == '\n' ? 1 : 0;
        line = found + 1;
    }
    last_ = body.back();
    left_ -= size;
    if (left_ == 0) {
        state_ = next;
    }
    return data.substr(size);
}

std::string_view AnswerReader::take_size(std::string_view data)
{
    for (size_t i = 0; i < data.size(); i++) {
        if (data[i] == '\n') {
            state_ = left_ > 0 ? State::Chunk : State::Trailer;
            return data.substr(i + 1);
        }
        int digit = hex_digit(data[i]);
        if (digit == -1 && data[i] != '\r') {
            die("not a chunk size: " + std::string(data.substr(0, 20)));
        }
        if (digit != -1) {
            left_ = left_ * 16 + static_cast<uint64_t>(digit);
        }
    }
    return {};
}

std::string_view AnswerReader::take_line(std::string_view data, State next)
{
    size_t end = data.find('\n');
    std::string_view line = data.substr(0, end);
    if (!line.empty() && line != "\r") {
        line_empty_ = false;
    }
    if (end == std::string_view::npos) {
        return {};
    }
    if (line_empty_) {
        state_ = next;
    } else if (state_ == State::ChunkEnd) {
        die("a chunk is longer than it says");
    }
    line_empty_ = true;
    return data.substr(end + 1);
}

} // namespace llmproxy
