#ifndef LLM_PROXY_JSON_STRING_CONTENT_H
#define LLM_PROXY_JSON_STRING_CONTENT_H

#include <cstddef>
#include <string_view>

namespace llmproxy::json
{

// How many bytes at the front of `text` are a string's content as they stand
// (RFC 8259 section 7, RFC 3629). Stops at what needs a look: a quote, a
// backslash, a control byte, and a UTF-8 sequence that is not valid or not
// whole.
size_t content_length(std::string_view text);

} // namespace llmproxy::json

#endif
