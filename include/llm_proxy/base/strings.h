#ifndef LLM_PROXY_BASE_STRINGS_H
#define LLM_PROXY_BASE_STRINGS_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// ASCII text helpers. None of them knows a locale.
namespace llmproxy
{

inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
// Of a hex digit in either case; -1 of any other byte.
inline int hex_value(char c)
{
    const char small = static_cast<char>(c | 0x20);
    if (is_digit(c)) {
        return c - '0';
    }
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

// Of an ASCII letter; any other byte stays what it is.
inline char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool iequals_same_size(std::string_view a, std::string_view b);
// Here, for most names that are compared differ in length.
inline bool iequals(std::string_view a, std::string_view b)
{
    return a.size() == b.size() && iequals_same_size(a, b);
}
inline bool starts_with(std::string_view text, std::string_view prefix)
{
    return text.substr(0, prefix.size()) == prefix;
}
bool ends_with(std::string_view text, std::string_view suffix);
// Case-insensitive find; npos when absent.
size_t ifind(std::string_view text, std::string_view what);
std::string to_lower(std::string_view text);
// Takes spaces and tabs off both ends.
inline std::string_view trim(std::string_view text)
{
    const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && is_blank(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && is_blank(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}
// Splits at each `separator`, trims the parts, leaves out empty ones.
std::vector<std::string_view> split_list(std::string_view text, char separator);
// Decimal digits only, no sign, no space; false on overflow or other bytes.
[[nodiscard]] bool parse_u64(std::string_view text, uint64_t &out);
constexpr size_t kMaxDigits = 20; // of a uint64_t
// In decimal, at the end of `room`, which is what the result is a part of.
std::string_view write_u64(char (&room)[kMaxDigits], uint64_t value);
void append_u64(std::string &out, uint64_t value);
// One percent-decoding pass; false on a broken escape.
[[nodiscard]] bool percent_decode(std::string_view text, std::string &out);
// For -V: "name/running, built with built"; of a library that does not tell its
// own version, where `running` is empty, without it.
std::string library_version(std::string_view name, std::string_view running,
                            std::string_view built);
// The candidate with the smallest edit distance to `name` if that distance
// is at most a third of its length (at least 1), else empty.
std::string_view nearest_name(std::string_view name,
                              const std::vector<std::string_view> &candidates);
// Empties `text` and gives its memory back, which an assignment need not do.
void free_text(std::string &text);
// "*" matches any run of characters, every other byte itself; linear time.
bool match_pattern(std::string_view pattern, std::string_view text);

} // namespace llmproxy

#endif
