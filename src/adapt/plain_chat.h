#ifndef LLM_PROXY_SRC_ADAPT_PLAIN_CHAT_H
#define LLM_PROXY_SRC_ADAPT_PLAIN_CHAT_H

#include "llm_proxy/adapt/adapter.h"

#include "ollama_translation.h"

namespace llmproxy
{

// A chat of roles and texts, with settings that are numbers on both sides:
// nearly all that comes. Put together from the client's bytes, without a tree;
// the general way would send the same JSON. False: there is something else in
// it, right or wrong, for the general way to judge; `out` and `wishes` are
// untouched.
[[nodiscard]] bool translate_plain_chat(const ClientRequest &request,
                                        UpstreamRequest &out, Wishes &wishes);

} // namespace llmproxy

#endif
