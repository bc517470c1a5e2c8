#ifndef LLM_PROXY_SRC_JSON_UTF8_H
#define LLM_PROXY_SRC_JSON_UTF8_H

#include <cstddef>
#include <cstdint>
#include <string>

// RFC 3629: no overlong forms, no surrogates, nothing over U+10FFFF.
namespace llmproxy::json
{

// What must follow the first byte of a sequence.
struct Utf8Tail {
    unsigned char count = 0;  // bytes to come; 0 = no first byte of several
    unsigned char low = 0x80; // range of the next one; the rest 0x80..0xbf
    unsigned char high = 0xbf;
};

inline Utf8Tail utf8_tail(unsigned char first)
{
    Utf8Tail tail;
    if (first < 0xc2 || first > 0xf4) {
        return tail;
    }
    tail.count = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if (first == 0xe0) {
        tail.low = 0xa0;
    } else if (first == 0xed) {
        tail.high = 0x9f;
    } else if (first == 0xf0) {
        tail.low = 0x90;
    } else if (first == 0xf4) {
        tail.high = 0x8f;
    }
    return tail;
}

// Length of the sequence of two to four bytes at `text`, of which `size`
// bytes are there; 0 if it is not valid or not whole.
inline size_t utf8_length(const char *text, size_t size)
{
    const auto *byte = reinterpret_cast<const unsigned char *>(text);
    const Utf8Tail tail = utf8_tail(byte[0]);
    if (tail.count == 0 || size <= tail.count || byte[1] < tail.low ||
        byte[1] > tail.high) {
        return 0;
    }
    for (size_t i = 2; i <= tail.count; i++) {
        if ((byte[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return tail.count + 1U;
}

// Appends a code point that is no surrogate.
inline void append_utf8(std::string &out, uint32_t code)
{
    if (code < 0x80) {
        out += static_cast<char>(code);
        return;
    }
    if (code < 0x800) {
        out += static_cast<char>(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        out += static_cast<char>(0xe0 | code >> 12);
        out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    } else {
        out += static_cast<char>(0xf0 | code >> 18);
        out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
        out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    }
    out += static_cast<char>(0x80 | (code & 0x3f));
}

} // namespace llmproxy::json

#endif
