#ifndef LLM_PROXY_SRC_ADAPT_FLOAT_TEXT_H
#define LLM_PROXY_SRC_ADAPT_FLOAT_TEXT_H

#include <cstddef>
#include <string>
#include <string_view>

namespace llmproxy
{

// Numbers of an embedding, from JSON's text. False if `text` is no number of
// JSON (RFC 8259), or one that is too large for 32 bits; nothing is appended
// or written then.

// The same number with at most 9 significant digits, which is what a float
// of 32 bits holds.
[[nodiscard]] bool append_float_text(std::string &out, std::string_view text);
// IEEE-754, 32 bits, little-endian.
constexpr size_t kFloatBytes = 4;
[[nodiscard]] bool write_float_bytes(char *out, std::string_view text);

} // namespace llmproxy

#endif
