// The judge of chunk framing.
#include "chunk_lint.h"

#include <algorithm>

#include "chars.h"

namespace llmproxy
{

namespace
{

// Framing bytes allowed beside as many again as the data has: one-byte chunks
// pass, a flood of extensions or trailers does not.
constexpr uint64_t kFramingSlack = 16 * 1024;

int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const unsigned char lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

} // namespace

void ChunkLint::reset()
{
    *this = ChunkLint();
}

ChunkLint::Verdict ChunkLint::look(std::string_view in, size_t &used)
{
    size_t at = 0;
    while (at < in.size()) {
        if (state_ == State::Data) {
            const size_t n =
                static_cast<size_t>(std::min<uint64_t>(left_, in.size() - at));
            at += n;
            left_ -= n;
            if (left_ == 0) {
                state_ = State::DataCr;
            }
            continue;
        }
        framing_++;
        if (!step(static_cast<unsigned char>(in[at++]))) {
            return Verdict::Bad;
        }
        if (data_ > max_data_) {
            return Verdict::TooLarge;
        }
        if (framing_ > data_ + kFramingSlack) {
            return Verdict::Bad;
        }
        if (complete_) {
            used = at;
            return Verdict::Complete;
        }
    }
    used = at;
    return Verdict::More;
}

bool ChunkLint::step(unsigned char c)
{
    switch (state_) {
    case State::SizeStart:
    case State::Size:
        return step_size(c);
    case State::Extension:
        if (c == '\r') {
            state_ = State::SizeLf;
            return true;
        }
        state_ = c == '"' ? State::ExtensionQuoted : state_;
        return has_class(c, kValueChar);
    case State::ExtensionQuoted:
        if (c == '"') {
            state_ = State::Extension;
        } else if (c == '\\') {
            state_ = State::ExtensionEscape;
        }
        return has_class(c, kValueChar);
    case State::ExtensionEscape:
        state_ = State::ExtensionQuoted;
        return has_class(c, kValueChar);
    case State::SizeLf:
        state_ = size_ == 0 ? State::TrailerStart : State::Data;
        left_ = size_;
        data_ += std::min(size_, UINT64_MAX - data_);
        return c == '\n';
    case State::DataCr:
        state_ = State::DataLf;
        return c == '\r';
    case State::DataLf:
        state_ = State::SizeStart;
        return c == '\n';
    case State::Data: // skipped in look()
        return true;
    case State::TrailerStart:
    case State::TrailerName:
    case State::TrailerValue:
    case State::TrailerLf:
    case State::LastLf:
        return step_trailer(c);
    }
    return false;
}

bool ChunkLint::step_size(unsigned char c)
{
    const int digit = hex_digit(c);
    if (state_ == State::SizeStart) {
        size_ = 0;
        digits_ = 0;
        state_ = State::Size;
    } else if (c == '\r') {
        state_ = State::SizeLf;
        return true;
    } else if (c == ';') {
        state_ = State::Extension;
        return true;
    }
    size_ = size_ << 4 | static_cast<uint64_t>(digit);
    return digit != -1 && ++digits_ <= 16;
}

bool ChunkLint::step_trailer(unsigned char c)
{
    switch (state_) {
    case State::TrailerStart:
        if (c == '\r') {
            state_ = State::LastLf;
            return true;
        }
        state_ = State::TrailerName;
        return has_class(c, kTokenChar);
    case State::TrailerName:
        if (c == ':') {
            state_ = State::TrailerValue;
            return true;
        }
        return has_class(c, kTokenChar);
    case State::TrailerValue:
        if (c == '\r') {
            state_ = State::TrailerLf;
            return true;
        }
        return has_class(c, kValueChar);
    case State::TrailerLf:
        state_ = State::TrailerStart;
        return c == '\n';
    default:
        complete_ = c == '\n';
        return complete_;
    }
}

} // namespace llmproxy
