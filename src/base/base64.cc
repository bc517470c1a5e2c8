// Writes base64.

#include "llm_proxy/base/base64.h"

#include <cstddef>
#include <cstdint>

namespace llmproxy
{

namespace
{

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789+/";

// The three bytes from `at` on, as 24 bits; 0 where there are none.
uint32_t group_at(std::string_view bytes, size_t at)
{
    uint32_t group = 0;
    for (size_t i = at; i < at + 3; i++) {
        const unsigned char byte =
            i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0;
        group = group << 8 | byte;
    }
    return group;
}

} // namespace

void append_base64(std::string &out, std::string_view bytes)
{
    size_t to = out.size();
    out.resize(to + (bytes.size() + 2) / 3 * 4);
    for (size_t at = 0; at < bytes.size(); at += 3) {
        const uint32_t group = group_at(bytes, at);
        out[to++] = kAlphabet[group >> 18];
        out[to++] = kAlphabet[group >> 12 & 63];
        out[to++] = kAlphabet[group >> 6 & 63];
        out[to++] = kAlphabet[group & 63];
    }
    const size_t missing = (3 - bytes.size() % 3) % 3;
    out.replace(to - missing, missing, missing, '=');
}

} // namespace llmproxy
