#ifndef LLM_PROXY_BASE_IDS_H
#define LLM_PROXY_BASE_IDS_H

#include <cstddef>
#include <string>

namespace llmproxy
{

// Appends `digits` random lower-case hex digits from the kernel's generator
// (getrandom, read in blocks per thread; not to be used on both sides of a
// fork).
void append_random_hex(std::string &out, size_t digits);

} // namespace llmproxy

#endif
