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

// Sixteen bytes in one register, where there is such a one (a vector of GCC's
// and clang's). Signed: whatever is over 0x7f is below 0x20, too.
using Bytes = signed char __attribute__((vector_size(16)));

// Adds all ones to `marks` where one of the sixteen bytes at `at` is not plain.
inline void mark_not_plain(const char *at, Bytes &marks)
{
    Bytes bytes;
    memcpy(&bytes, at, sizeof bytes);
    marks |= (bytes < 0x20) | (bytes == '"') | (bytes == '\\');
}

constexpr ptrdiff_t kBlock = 4 * sizeof(Bytes);
// Whether all of a block of bytes at `at` are plain.
inline bool is_plain_block(const char *at)
{
    Bytes marks = {};
    mark_not_plain(at, marks);
    mark_not_plain(at + 16, marks);
    mark_not_plain(at + 32, marks);
    mark_not_plain(at + 48, marks);
    uint64_t halves[2];
    memcpy(halves, &marks, sizeof halves);
    return (halves[0] | halves[1]) == 0;
}

// How many of the sixteen bytes at `at` come before the first that is not
// plain.
inline size_t plain_bytes(const char *at)
{
    Bytes marks = {};
    mark_not_plain(at, marks);
    uint64_t halves[2];
    memcpy(halves, &marks, sizeof halves);
    if ((halves[0] | halves[1]) == 0) {
        return sizeof marks;
    }
    const size_t half = halves[0] != 0 ? 0 : 1;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const int bits = __builtin_ctzll(halves[half]);
#else
    const int bits = __builtin_clzll(halves[half]);
#endif
    return half * 8 + static_cast<size_t>(bits) / 8;
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
