#ifndef LLM_PROXY_SRC_PROXY_TRANSFER_ERROR_H
#define LLM_PROXY_SRC_PROXY_TRANSFER_ERROR_H

#include "llm_proxy/config/backends.h"
#include "llm_proxy/http/api_error.h"
#include "llm_proxy/proxy/access_log.h"
#include "llm_proxy/upstream/upstream_pool.h"

namespace llmproxy
{

// What a client is told of a transfer that failed, and what the access log.
ApiError transfer_error(const TransferEnd &end, const BackendConfig &asked);
Cause transfer_cause(TransferFault fault);

} // namespace llmproxy

#endif
