#ifndef LLM_PROXY_SRC_ADAPT_WIDE_INTEGERS_H
#define LLM_PROXY_SRC_ADAPT_WIDE_INTEGERS_H

#include "llm_proxy/json/value.h"

#include <string>
#include <string_view>

namespace llmproxy
{

// Integers beyond 64 bits, which the arguments of tool calls may hold: Ollama
// passes them through a float64 and writes that in full, and what it has
// written comes back in the next round. In a tree they are strings with a
// random mark in front, and in what is printed of it they are numbers again.

// As json::parse_lenient. Makes `mark` if one is needed and there is none.
[[nodiscard]] bool parse_wide(std::string_view text, std::string &mark,
                              json::Ptr &out, Error &err);
// Of what was printed: takes the marks off, with the quotes around them.
std::string without_marks(std::string text, const std::string &mark);

} // namespace llmproxy

#endif
