#ifndef LLM_PROXY_SRC_HTTP_CHARS_H
#define LLM_PROXY_SRC_HTTP_CHARS_H

#include <cstdint>
#include <string_view>

// The character classes of RFC 9110, as bits of one table.
namespace llmproxy
{

constexpr uint8_t kTokenChar = 1;  // tchar
constexpr uint8_t kValueChar = 2;  // HTAB, SP, VCHAR, obs-text
constexpr uint8_t kTargetChar = 4; // 0x21..0x7e without '#'

struct CharTable {
    uint8_t bits[256];
};

constexpr CharTable make_char_table()
{
    CharTable table{};
    for (int c = 0; c < 256; c++) {
        uint8_t bits = 0;
        const bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                           (c >= 'a' && c <= 'z');
        if (alnum) {
            bits |= kTokenChar;
        }
        for (const char other : std::string_view("!#$%&'*+-.^_`|~")) {
            if (c == other) {
                bits |= kTokenChar;
            }
        }
        if (c == '\t' || (c >= 0x20 && c != 0x7f)) {
            bits |= kValueChar;
        }
        if (c > 0x20 && c < 0x7f && c != '#') {
            bits |= kTargetChar;
        }
        table.bits[c] = bits;
    }
    return table;
}

inline constexpr CharTable kChars = make_char_table();

inline bool has_class(unsigned char c, uint8_t bit)
{
    return (kChars.bits[c] & bit) != 0;
}

inline bool all_chars(std::string_view text, uint8_t bit)
{
    uint8_t all = bit; // no early exit: good input is the common case
    for (const char c : text) {
        all &= kChars.bits[static_cast<unsigned char>(c)];
    }
    return all != 0;
}

inline bool is_token(std::string_view text)
{
    return !text.empty() && all_chars(text, kTokenChar);
}

inline bool is_field_value(std::string_view text)
{
    return all_chars(text, kValueChar);
}

} // namespace llmproxy

#endif
