#ifndef LLM_PROXY_JSON_SCANNER_H
#define LLM_PROXY_JSON_SCANNER_H

#include "llm_proxy/json/key_set.h"

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::json
{

// Bytes [begin, end) of the document, counted from its first byte.
struct Range {
    size_t begin = 0;
    size_t end = 0;
    size_t size() const { return end - begin; }
};

enum class MemberKind { Absent, Null, Bool, Number, String, Array, Object };

// What a proxy must know of a request body that it passes on untouched.
struct BodyFacts {
    MemberKind model_kind = MemberKind::Absent;
    Range model; // the string with its quotes
    // Decoded; lone surrogates as U+FFFD. Of one that is longer than
    // kMaxModelText, one byte more than that.
    std::string model_text;
    MemberKind stream_kind = MemberKind::Absent;
    bool stream = false;
    // String values (never keys) longer than kLongString bytes between their
    // quotes, in order; the ranges are what stands between the quotes.
    std::vector<Range> long_strings;
    // Some string, key or value, holds half of a surrogate pair (\ud800).
    bool lone_surrogate = false;
};

constexpr size_t kLongString = 1024;
constexpr size_t kMaxDepth = 2048; // values inside each other, as jansson
constexpr size_t kMaxTopKeys = 512;
constexpr size_t kMaxTopKeyBytes = size_t{64} << 10; // of them all
constexpr size_t kMaxModelText = 1024;

// Where and why a body is refused. Never quotes the body.
struct ScanError {
    enum class Kind {
        Syntax,       // not JSON (RFC 8259), not UTF-8, a BOM
        NotObject,    // what begins at the top level is no object
        TooDeep,      // more than kMaxDepth values inside each other
        TooManyKeys,  // more than kMaxTopKeys at the top level, or too long
        DuplicateKey, // two equal top-level keys, after decoding escapes
        ModelCase,    // a top-level key equal to "model" but for case
    } kind = Kind::Syntax;
    std::string message;
    size_t line = 1;   // 1-based
    size_t column = 1; // 1-based, in bytes
};

// Reads a JSON body once, as its pieces arrive: checks that it is well-formed
// and notes the facts. Builds no tree, so numbers of any size and lone
// surrogate escapes pass untouched; what it keeps is the facts, the top-level
// keys and a few hundred bytes. Cutting the input differently never changes
// the result.
class BodyScanner
{
public:
    // False once the body is refused; error() says why. Feeding goes on to be
    // refused.
    [[nodiscard]] bool feed(std::string_view piece);
    // After the last piece: false if the document is not whole.
    [[nodiscard]] bool finish();

    const BodyFacts &facts() const { return facts_; }
    const ScanError &error() const { return error_; }

private:
    enum class State {
        Start, // before the top-level value
        Value,
        FirstElement, // after '['
        FirstKey,     // after '{'
        Key,
        Colon,
        AfterValue,
        String,
        Escape,
        Hex,
        Utf8,
        Literal,
        Minus,
        Zero,
        Integer,
        Point,
        Fraction,
        Exponent,
        ExponentSign,
        ExponentDigits,
        Done,
        Refused,
    };

    [[nodiscard]] bool step(unsigned char byte);
    [[nodiscard]] bool on_start(unsigned char byte);
    [[nodiscard]] bool on_structure(unsigned char byte);
    [[nodiscard]] bool on_value(unsigned char byte);
    [[nodiscard]] bool on_number(unsigned char byte);
    [[nodiscard]] bool on_string(unsigned char byte);
    [[nodiscard]] bool on_escape(unsigned char byte);
    [[nodiscard]] bool on_hex(unsigned char byte);
    [[nodiscard]] bool on_utf8(unsigned char byte);
    [[nodiscard]] bool on_literal(unsigned char byte);
    void begin_string(bool key);
    [[nodiscard]] bool end_string();
    [[nodiscard]] bool end_key();
    void begin_literal(const char *text);
    void begin_container(bool object);
    void end_container();
    void end_value();
    void note_kind(MemberKind kind);
    // One byte more than is allowed, so that it shows.
    void keep(std::string_view bytes)
    {
        const size_t most = (in_key_ ? kMaxTopKeyBytes : kMaxModelText) + 1;
        if (keeping_ && text_.size() < most) {
            text_ += bytes.substr(0, most - text_.size());
        }
    }
    void keep_byte(unsigned char byte)
    {
        const char c = static_cast<char>(byte);
        keep({&c, 1});
    }
    void keep_code(uint32_t code);
    void lose_surrogate();
    // The top level object's own member is being read.
    bool at_top() const { return depth_ == 1; }
    [[nodiscard]] bool refuse(ScanError::Kind kind, const char *message,
                              size_t at);
    [[nodiscard]] bool syntax(const char *message)
    {
        return refuse(ScanError::Kind::Syntax, message, offset_);
    }

    enum class Member { Other, Model, Stream }; // at the top level

    State state_ = State::Start;
    Member member_ = Member::Other;
    bool in_key_ = false;
    bool keeping_ = false; // the string's decoded text goes to text_
    std::bitset<kMaxDepth> is_object_; // of the open containers
    size_t depth_ = 0;
    size_t offset_ = 0; // of the byte being read
    size_t line_ = 1;
    size_t line_start_ = 0;   // offset of the line's first byte
    size_t string_start_ = 0; // offset of the opening quote
    std::string text_;
    KeySet top_keys_;
    const char *literal_ = ""; // what is left of true, false, null, a BOM
    uint32_t hex_ = 0;
    unsigned hex_digits_ = 0;
    uint32_t high_surrogate_ = 0; // waits for its other half; 0 = none
    unsigned char utf8_left_ = 0;
    unsigned char utf8_low_ = 0;
    unsigned char utf8_high_ = 0;
    BodyFacts facts_;
    ScanError error_;
};

} // namespace llmproxy::json

#endif
