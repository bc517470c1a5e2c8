#ifndef LLM_PROXY_SRC_ADAPT_OLLAMA_REQUEST_H
#define LLM_PROXY_SRC_ADAPT_OLLAMA_REQUEST_H

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/http/api_error.h"

#include <string>

namespace llmproxy
{

// What of a chat request the answer depends on.
struct ChatWishes {
    bool stream = false;
    bool include_usage = false;
    // Names of members that were accepted but have no effect here, as
    // X-Proxy-Dropped-Params lists them; empty if there are none.
    std::string dropped;
};

// POST /v1/chat/completions to POST /api/chat: method, path and body.
[[nodiscard]] bool translate_chat_request(const ClientRequest &request,
                                          UpstreamRequest &out,
                                          ChatWishes &wishes, ApiError &err);

} // namespace llmproxy

#endif
