#ifndef LLM_PROXY_SRC_HTTP_CHARS_H
#define LLM_PROXY_SRC_HTTP_CHARS_H

#include <cstdint>
#include <cstring>
#include <string_view>

// The character classes of RFC 9110, as bits of one table.
namespace llmproxy
{

constexpr uint8_t kTokenChar = 1;  // tchar
constexpr uint8_t kValueChar = 2;  // HTAB, SP, VCHAR, obs-text
constexpr uint8_t kTargetChar = 4; // 0x21..0x7e without '#'
constexpr uint8_t kNoUnderscore = 8;

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
        if (c != '_') {
            bits |= kNoUnderscore;
        }
        table.bits[c] = bits;
    }
    return table;
}

inline constexpr CharTable kChars = make_char_table();

// Those that every byte is in.
inline uint8_t common_classes(std::string_view text)
{
    uint8_t all = 0xff; // no early exit: good input is the common case
    for (const char c : text) {
        all &= kChars.bits[static_cast<unsigned char>(c)];
    }
    return all;
}

inline bool all_chars(std::string_view text, uint8_t bit)
{
    return (common_classes(text) & bit) != 0;
}

inline bool is_token(std::string_view text)
{
    return !text.empty() && all_chars(text, kTokenChar);
}

// True if one of eight bytes is below 0x20 or is 0x7f.
inline bool holds_control(uint64_t bytes)
{
    constexpr uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t low = (bytes - ones * 0x20) & ~bytes;
    const uint64_t del = bytes ^ ones * 0x7f;
    return ((low | ((del - ones) & ~del)) & ones * 0x80) != 0;
}

inline bool is_field_value(std::string_view text)
{
    constexpr size_t step = sizeof(uint64_t);
    const auto suspect = [text](size_t at) {
        uint64_t bytes;
        memcpy(&bytes, text.data() + at, sizeof(bytes));
        return holds_control(bytes);
    };
    if (text.size() < step) {
        return all_chars(text, kValueChar);
    }
    // Most of a request is values without a control byte, tabs included. The
    // last eight overlap those before.
    const size_t last = text.size() - step;
    size_t at = 0;
    while (at < last && !suspect(at)) {
        at += step;
    }
    return (at >= last && !suspect(last)) || all_chars(text, kValueChar);
}

} // namespace llmproxy

#endif
