#ifndef LLM_PROXY_LIMIT_HEADERS_H
#define LLM_PROXY_LIMIT_HEADERS_H

#include "llm_proxy/http/api_error.h"
#include "llm_proxy/http/message.h"
#include "llm_proxy/limit/limiter.h"

#include <string>
#include <string_view>

namespace llmproxy
{

// A Go duration as OpenAI writes resets: "12ms", "8.64s", "6m0s", "1h0m0s".
std::string format_reset(int64_t ms);
// X-RateLimit-{Limit,Remaining,Reset}-Requests for the window closest to
// blocking, and the -Day twins. Nothing for an unlimited token. `draft`: also
// RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10).
void append_limit_headers(const LimitVerdict &verdict, bool draft,
                          FieldBlock &out);
// A denied verdict as an error, and the headers only a denial has
// (retry-after-ms). Retry-After and x-should-retry travel in the error.
ApiError limit_error(const LimitVerdict &verdict, std::string_view label,
                     FieldBlock &extra);

} // namespace llmproxy

#endif
