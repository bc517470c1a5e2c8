#ifndef LLM_PROXY_SRC_ADAPT_OLLAMA_TOOLS_H
#define LLM_PROXY_SRC_ADAPT_OLLAMA_TOOLS_H

#include "ollama_translation.h"

struct json_t;

namespace llmproxy
{

// Handlers of a chat's `tools` and `tool_choice`, in this order, and of
// `parallel_tool_calls`.
bool on_tools(Translation &t, const char *name, json_t *value);
bool on_tool_choice(Translation &t, const char *name, json_t *value);
bool on_parallel_tool_calls(Translation &t, const char *name, json_t *value);

} // namespace llmproxy

#endif
