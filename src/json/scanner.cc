// The body scanner: one state machine over bytes. Strings are most of a
// request, so their plain bytes are skipped sixteen and more at a time, and
// what ends one is seen there; everything else takes one step() a byte.
// Positions are counted from the document's start, never from a piece's, which
// is what makes cuts invisible.

#include "llm_proxy/json/scanner.h"

#include "llm_proxy/json/string_content.h"

#include "string_bytes.h"

namespace llmproxy::json
{

namespace
{

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
