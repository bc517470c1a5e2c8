#ifndef LLM_PROXY_SRC_ADAPT_EMBEDDING_REQUEST_H
#define LLM_PROXY_SRC_ADAPT_EMBEDDING_REQUEST_H

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/http/api_error.h"

#include "ollama_translation.h"

namespace llmproxy
{

// POST /v1/embeddings to POST /api/embed; as translate_request().
[[nodiscard]] bool translate_embedding_request(const ClientRequest &request,
                                               UpstreamRequest &out,
                                               Wishes &wishes, ApiError &err);

} // namespace llmproxy

#endif
