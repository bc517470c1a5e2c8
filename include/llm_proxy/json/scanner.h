#ifndef LLM_PROXY_JSON_SCANNER_H
#define LLM_PROXY_JSON_SCANNER_H

#include <cstddef>
#include <set>
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
    Range model;       // the string with its quotes
    std::string model_text; // decoded; lone surrogates as U+FFFD
    MemberKind stream_kind = MemberKind::Absent;
    bool stream = false;
    // String values (never keys) longer than kLongString bytes between their
    // quotes, in order; the ranges are what stands between the quotes. A
    // lone surrogate escape inside one is reported in `lone_surrogate`.
    std::vector<Range> long_strings;
    bool lone_surrogate = false;
};

constexpr size_t kLongString = 1024;
constexpr size_t kMaxDepth = 2048; // as jansson

// Where and why a body is refused. Never quotes the body.
struct ScanError {
    enum class Kind {
        Syntax,        // not JSON (RFC 8259), not UTF-8, a BOM
        NotObject,     // JSON, but the top level is no object
        TooDeep,
        DuplicateKey,  // two equal top-level keys, after decoding escapes
        ModelCase,     // a top-level key equal to "model" but for case
    } kind = Kind::Syntax;
    std::string message;
    size_t line = 1;   // 1-based
    size_t column = 1; // 1-based, in bytes
};

// Reads a JSON body once, as its pieces arrive, in constant space but for
// the facts: checks that it is well-formed and notes the facts. Builds no
// tree, so numbers of any size and lone surrogate escapes pass untouched.
// Cutting the input differently never changes the result.
class BodyScanner
{
public:
    BodyScanner();

    // False once the body is refused; error() says why. Feeding goes on to be
    // refused.
    [[nodiscard]] bool feed(std::string_view piece);
    // After the last piece: false if the document is not whole.
    [[nodiscard]] bool finish();

    const BodyFacts &facts() const { return facts_; }
    const ScanError &error() const { return error_; }

private:
    // json/scanner.cc adds what it needs.
    BodyFacts facts_;
    ScanError error_;
};

} // namespace llmproxy::json

#endif
