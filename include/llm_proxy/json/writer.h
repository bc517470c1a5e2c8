#ifndef LLM_PROXY_JSON_WRITER_H
#define LLM_PROXY_JSON_WRITER_H

#include <string>
#include <string_view>

namespace llmproxy::json
{

// Appends `text` (valid UTF-8) as a JSON string with its quotes. Each byte
// that belongs to no valid UTF-8 sequence becomes one U+FFFD.
void append_string(std::string &out, std::string_view text);

} // namespace llmproxy::json

#endif
