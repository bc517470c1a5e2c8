#ifndef LLM_PROXY_SRC_JSON_STRING_BYTES_H
#define LLM_PROXY_SRC_JSON_STRING_BYTES_H

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "utf8.h"

// What single bytes, and runs of them inside a string, are to JSON.
namespace llmproxy::json
{

inline bool is_blank(unsigned char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

inline bool is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

// A string's byte that is neither its end, an escape, a control byte nor
// part of a longer UTF-8 sequence.
inline bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

// The highest bit of each of eight bytes that is not plain. A borrow can only
// mark a byte above a marked one, so the lowest mark is exact.
inline uint64_t special_marks(uint64_t word)
{
    constexpr uint64_t ones = 0x0101010101010101;
    const uint64_t quote = word ^ (ones * '"');
    const uint64_t slash = word ^ (ones * '\\');
    const uint64_t marks = word | (word - ones * 0x20) |
                           ((quote - ones) & ~quote) |
                           ((slash - ones) & ~slash);
    return marks & (ones * 0x80);
}

// How many bytes of memory are before the first of some marks, or fewer.
inline size_t before_mark(uint64_t marks)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return static_cast<size_t>(__builtin_ctzll(marks)) / 8;
#else
    return marks != 0 ? 0 : sizeof marks; // the lowest mark is not the first
#endif
}

// The byte an escape of one letter stands for; 0 if there is none such.
inline unsigned char escaped_byte(unsigned char letter)
{
    switch (letter) {
    case '"':
    case '\\':
    case '/':
        return letter;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

} // namespace llmproxy::json

#endif
