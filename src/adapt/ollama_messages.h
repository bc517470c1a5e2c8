#ifndef LLM_PROXY_SRC_ADAPT_OLLAMA_MESSAGES_H
#define LLM_PROXY_SRC_ADAPT_OLLAMA_MESSAGES_H

#include "llm_proxy/json/value.h"

#include "ollama_translation.h"

namespace llmproxy
{

// Translates a chat's `messages` (an array), one of OpenAI's to one of
// Ollama's, into a new array.
[[nodiscard]] bool translate_messages(Translation &t, const json_t *messages,
                                      json::Ptr &out);

} // namespace llmproxy

#endif
