#ifndef LLM_PROXY_BASE_BASE64_H
#define LLM_PROXY_BASE_BASE64_H

#include <string>
#include <string_view>

namespace llmproxy
{

// Appends `bytes` in base64: standard alphabet, with padding (RFC 4648,
// section 4). What is encoded in parts needs parts of 3, 6, 9... bytes, but
// for the last one.
void append_base64(std::string &out, std::string_view bytes);

} // namespace llmproxy

#endif
