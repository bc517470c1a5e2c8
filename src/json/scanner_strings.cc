// The body scanner inside of strings: what ends them, what they hold, and which
// of it is kept. One key or value at a time, a byte at a time.

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/scanner.h"

#include "string_bytes.h"

namespace llmproxy::json
{

namespace
{

constexpr uint32_t kReplacement = 0xfffd;

} // namespace

void BodyScanner::begin_string(bool key)
{
    state_ = State::String;
    in_key_ = key;
    string_start_ = offset_;
    keeping_ = at_top() && (key || member_ == Member::Model);
    text_.clear();
}

bool BodyScanner::on_string(unsigned char byte)
{
    if (byte == '\\') {
        state_ = State::Escape;
        return true;
    }
    lose_surrogate();
    if (byte == '"') {
        return end_string();
    }
    if (byte < 0x20) {
        return syntax("a control character inside a string");
    }
    if (byte < 0x80) {
        keep_byte(byte);
        return true;
    }
    const Utf8Tail tail = utf8_tail(byte);
    if (tail.count == 0) {
        return syntax("invalid UTF-8 inside a string");
    }
    utf8_left_ = tail.count;
    utf8_low_ = tail.low;
    utf8_high_ = tail.high;
    keep_byte(byte);
    state_ = State::Utf8;
    return true;
}

bool BodyScanner::on_utf8(unsigned char byte)
{
    if (byte < utf8_low_ || byte > utf8_high_) {
        return syntax("invalid UTF-8 inside a string");
    }
    keep_byte(byte);
    utf8_low_ = 0x80;
    utf8_high_ = 0xbf;
    utf8_left_--;
    if (utf8_left_ == 0) {
        state_ = State::String;
    }
    return true;
}

bool BodyScanner::on_escape(unsigned char byte)
{
    if (byte == 'u') {
        hex_ = 0;
        hex_digits_ = 0;
        state_ = State::Hex;
        return true;
    }
    lose_surrogate();
    const unsigned char plain = escaped_byte(byte);
    if (plain == 0) {
        return syntax("an unknown escape inside a string");
    }
    keep_byte(plain);
    state_ = State::String;
    return true;
}

bool BodyScanner::on_hex(unsigned char byte)
{
    const int digit = hex_value(static_cast<char>(byte));
    if (digit == -1) {
        return syntax("expected four hex digits after \\u");
    }
    hex_ = hex_ << 4 | static_cast<uint32_t>(digit);
    hex_digits_++;
    if (hex_digits_ < 4) {
        return true;
    }
    state_ = State::String;
    const bool low = hex_ >= 0xdc00 && hex_ <= 0xdfff;
    if (low && high_surrogate_ != 0) {
        keep_code(0x10000 + ((high_surrogate_ - 0xd800) << 10) +
                  (hex_ - 0xdc00));
        high_surrogate_ = 0;
        return true;
    }
    lose_surrogate();
    if (hex_ >= 0xd800 && hex_ <= 0xdbff) {
        high_surrogate_ = hex_;
    } else if (low) {
        facts_.lone_surrogate = true;
        keep_code(kReplacement);
    } else {
        keep_code(hex_);
    }
    return true;
}

bool BodyScanner::end_string()
{
    if (in_key_) {
        state_ = State::Colon;
        return !at_top() || end_key();
    }
    if (offset_ - string_start_ - 1 > kLongString) {
        facts_.long_strings.push_back({string_start_ + 1, offset_});
    }
    if (keeping_) {
        facts_.model = {string_start_, offset_ + 1};
        facts_.model_text = text_;
    }
    end_value();
    return true;
}

bool BodyScanner::end_key()
{
    const std::string_view key = text_;
    member_ = key == "model"    ? Member::Model
              : key == "stream" ? Member::Stream
                                : Member::Other;
    if (member_ == Member::Other && iequals(key, "model")) {
        return refuse(ScanError::Kind::ModelCase,
                      "a key differs from \"model\" only by case",
                      string_start_);
    }
    if (top_keys_.count() == kMaxTopKeys ||
        top_keys_.bytes() + key.size() > kMaxTopKeyBytes) {
        return refuse(ScanError::Kind::TooManyKeys,
                      "more than 512 keys, or 64 KiB of keys, at the top level",
                      string_start_);
    }
    return top_keys_.add(key) ||
           refuse(ScanError::Kind::DuplicateKey,
                  "a key appears twice at the top level", string_start_);
}

void BodyScanner::keep_code(uint32_t code)
{
    std::string bytes;
    append_utf8(bytes, code);
    keep(bytes);
}

// The first half of a pair was not followed by the second.
void BodyScanner::lose_surrogate()
{
    if (high_surrogate_ != 0) {
        high_surrogate_ = 0;
        facts_.lone_surrogate = true;
        keep_code(kReplacement);
    }
}

} // namespace llmproxy::json
