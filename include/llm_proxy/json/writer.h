#ifndef LLM_PROXY_JSON_WRITER_H
#define LLM_PROXY_JSON_WRITER_H

#include <string>
#include <string_view>

namespace llmproxy::json
{

// Appends `text` (valid UTF-8) as a JSON string with its quotes. Bytes that
// are not valid UTF-8 become U+FFFD.
void append_string(std::string &out, std::string_view text);

} // namespace llmproxy::json

#endif
