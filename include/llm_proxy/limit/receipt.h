#ifndef LLM_PROXY_LIMIT_RECEIPT_H
#define LLM_PROXY_LIMIT_RECEIPT_H

#include "llm_proxy/base/digest.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy
{

// The signed word of /internal/authz that a request has been charged, as it
// travels in X-RateLimit-Checked:
// v1;UNIX TIME;REQUEST ID;16 HEX DIGITS OF THE TOKEN'S DIGEST;HMAC-SHA-256.
// `request_id` holds no semicolon.
std::string make_receipt(std::string_view secret, const Sha256 &token,
                         std::string_view request_id, int64_t now_s);

enum class ReceiptFault { None, Malformed, Forged, Stale, OtherToken, Used };
const char *receipt_fault_name(ReceiptFault fault);

// How far the clocks of who signs and who checks may be apart, age included.
constexpr int64_t kReceiptLifeS = 30;

// As long as one may still be shown, by the clock that is furthest ahead, it
// must be known whether it was.
constexpr int64_t kReceiptMemoryMs = (2 * kReceiptLifeS + 1) * 1000;

// Judges a receipt but for having been used before. On None `request_id` is
// a view into `text`.
[[nodiscard]] ReceiptFault check_receipt(std::string_view secret,
                                         const Sha256 &token, int64_t now_s,
                                         std::string_view text,
                                         std::string_view &request_id);

} // namespace llmproxy

#endif
