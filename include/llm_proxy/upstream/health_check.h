#ifndef LLM_PROXY_UPSTREAM_HEALTH_CHECK_H
#define LLM_PROXY_UPSTREAM_HEALTH_CHECK_H

#include "llm_proxy/base/error.h"

#include <cstdint>
#include <string>

namespace llmproxy
{

// GETs `url`, http://host[:port][/path] or unix:/socket[:/path], and blocks
// until the answer is whole or `timeout_ms` is over; without a path /healthz
// is asked for. True if the answer is a 200; `err` says otherwise what came
// instead. Goes round any HTTP proxy. After UpstreamPool::global_init(), and
// from no thread that runs a loop.
[[nodiscard]] bool check_health(const std::string &url, int64_t timeout_ms,
                                Error &err);

} // namespace llmproxy

#endif
