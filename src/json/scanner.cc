// The body scanner: one state machine over bytes. Strings are most of a
// request, so their plain bytes are skipped sixteen at a time, and what ends
// one is seen there; everything else takes one step() a byte. Positions are
// counted from the document's start, never from a piece's, which is what makes
// cuts invisible.

#include "llm_proxy/json/scanner.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/string_content.h"

#include "string_bytes.h"

namespace llmproxy::json
{

namespace
{

constexpr uint32_t kReplacement = 0xfffd;
constexpr char kBom[] = "\xef\xbb\xbf";
// What a value that is no object begins with.
constexpr std::string_view kOtherValues = "[\"-0123456789tfn";

} // namespace

bool BodyScanner::feed(std::string_view piece)
{
    size_t at = 0;
    while (at < piece.size() && state_ != State::Refused) {
        if (state_ == State::String && high_surrogate_ == 0) {
            const size_t length = content_length(piece.substr(at));
            keep(piece.substr(at, length));
            at += length;
            offset_ += length;
            if (at == piece.size()) {
                break;
            }
            if (piece[at] == '"') {
                if (!end_string()) {
                    break;
                }
                at++;
                offset_++;
                continue;
            }
        }
        if (!step(static_cast<unsigned char>(piece[at]))) {
            break;
        }
        at++;
        offset_++;
    }
    return state_ != State::Refused;
}

bool BodyScanner::finish()
{
    switch (state_) {
    case State::Done:
        return true;
    case State::Refused:
        return false;
    case State::Start:
        return syntax("the document is empty");
    default:
        return syntax("the document ends too early");
    }
}

bool BodyScanner::step(unsigned char byte)
{
    switch (state_) {
    case State::Start:
    case State::Value:
    case State::FirstElement:
    case State::FirstKey:
    case State::Key:
    case State::Colon:
    case State::AfterValue:
    case State::Done:
        if (is_blank(byte)) {
            if (byte == '\n') {
                line_++;
                line_start_ = offset_ + 1;
            }
            return true;
        }
        return state_ == State::Start ? on_start(byte) : on_structure(byte);
    case State::String:
        return on_string(byte);
    case State::Escape:
        return on_escape(byte);
    case State::Hex:
        return on_hex(byte);
    case State::Utf8:
        return on_utf8(byte);
    case State::Literal:
        return on_literal(byte);
    case State::Minus:
    case State::Zero:
    case State::Integer:
    case State::Point:
    case State::Fraction:
    case State::Exponent:
    case State::ExponentSign:
    case State::ExponentDigits:
        return on_number(byte);
    case State::Refused:
        break;
    }
    return false;
}

bool BodyScanner::on_structure(unsigned char byte)
{
    const bool in_object = depth_ > 0 && is_object_[depth_ - 1];
    switch (state_) {
    case State::FirstElement:
        if (byte == ']') {
            end_container();
            return true;
        }
        return on_value(byte);
    case State::FirstKey:
        if (byte == '}') {
            end_container();
            return true;
        }
        [[fallthrough]];
    case State::Key:
        if (byte != '"') {
            return syntax("expected a key in double quotes");
        }
        begin_string(true);
        return true;
    case State::Colon:
        if (byte != ':') {
            return syntax("expected ':' after a key");
        }
        state_ = State::Value;
        return true;
    case State::AfterValue:
        if (byte == ',') {
            state_ = in_object ? State::Key : State::Value;
            return true;
        }
        if (in_object && byte != '}') {
            return syntax("expected ',' or '}'");
        }
        if (!in_object && byte != ']') {
            return syntax("expected ',' or ']'");
        }
        end_container();
        return true;
    case State::Done:
        return syntax("something follows the end of the document");
    default:
        return on_value(byte);
    }
}

bool BodyScanner::on_start(unsigned char byte)
{
    if (byte == '{') {
        begin_container(true);
        return true;
    }
    if (byte == static_cast<unsigned char>(kBom[0])) {
        begin_literal(kBom);
        return true;
    }
    if (kOtherValues.find(static_cast<char>(byte)) != std::string_view::npos) {
        return refuse(ScanError::Kind::NotObject,
                      "the top level must be an object", offset_);
    }
    return syntax("expected an object");
}

bool BodyScanner::on_value(unsigned char byte)
{
    if (depth_ == kMaxDepth) {
        return refuse(ScanError::Kind::TooDeep,
                      "values are nested more than 2048 deep", offset_);
    }
    switch (byte) {
    case '{':
        note_kind(MemberKind::Object);
        begin_container(true);
        return true;
    case '[':
        note_kind(MemberKind::Array);
        begin_container(false);
        return true;
    case '"':
        note_kind(MemberKind::String);
        begin_string(false);
        return true;
    case 't':
    case 'f':
        note_kind(MemberKind::Bool);
        if (at_top() && member_ == Member::Stream) {
            facts_.stream = byte == 't';
        }
        begin_literal(byte == 't' ? "true" : "false");
        return true;
    case 'n':
        note_kind(MemberKind::Null);
        begin_literal("null");
        return true;
    default:
        break;
    }
    if (byte != '-' && !is_digit(byte)) {
        return syntax("expected a value");
    }
    note_kind(MemberKind::Number);
    state_ = byte == '-'   ? State::Minus
             : byte == '0' ? State::Zero
                           : State::Integer;
    return true;
}

bool BodyScanner::on_number(unsigned char byte)
{
    const bool digit = is_digit(byte);
    switch (state_) {
    case State::Minus:
        if (digit) {
            state_ = byte == '0' ? State::Zero : State::Integer;
            return true;
        }
        return syntax("expected a digit");
    case State::Integer:
        if (digit) {
            return true;
        }
        [[fallthrough]];
    case State::Zero:
        if (byte == '.') {
            state_ = State::Point;
            return true;
        }
        break;
    case State::Point:
        if (digit) {
            state_ = State::Fraction;
            return true;
        }
        return syntax("expected a digit");
    case State::Exponent:
        if (byte == '+' || byte == '-') {
            state_ = State::ExponentSign;
            return true;
        }
        [[fallthrough]];
    case State::ExponentSign:
        if (digit) {
            state_ = State::ExponentDigits;
            return true;
        }
        return syntax("expected a digit");
    default: // Fraction, ExponentDigits
        if (digit) {
            return true;
        }
        break;
    }
    if ((byte == 'e' || byte == 'E') && state_ != State::ExponentDigits) {
        state_ = State::Exponent;
        return true;
    }
    // The number is over; the byte belongs to what comes after it.
    end_value();
    return step(byte);
}

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

// The first byte has been seen; the others must follow.
void BodyScanner::begin_literal(const char *text)
{
    literal_ = text + 1;
    state_ = State::Literal;
}

bool BodyScanner::on_literal(unsigned char byte)
{
    if (byte != static_cast<unsigned char>(*literal_)) {
        return syntax(depth_ == 0 ? "expected an object"
                                  : "expected true, false or null");
    }
    literal_++;
    if (*literal_ != '\0') {
        return true;
    }
    if (depth_ == 0) {
        return syntax("the document begins with a byte order mark; "
                      "send it without");
    }
    end_value();
    return true;
}

void BodyScanner::begin_container(bool object)
{
    is_object_[depth_] = object;
    depth_++;
    state_ = object ? State::FirstKey : State::FirstElement;
}

void BodyScanner::end_container()
{
    depth_--;
    end_value();
}

void BodyScanner::end_value()
{
    state_ = depth_ == 0 ? State::Done : State::AfterValue;
}

void BodyScanner::note_kind(MemberKind kind)
{
    if (!at_top()) {
        return;
    }
    if (member_ == Member::Model) {
        facts_.model_kind = kind;
    } else if (member_ == Member::Stream) {
        facts_.stream_kind = kind;
    }
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

bool BodyScanner::refuse(ScanError::Kind kind, const char *message, size_t at)
{
    state_ = State::Refused;
    error_.kind = kind;
    error_.message = message;
    error_.line = line_;
    error_.column = at - line_start_ + 1;
    return false;
}

} // namespace llmproxy::json
