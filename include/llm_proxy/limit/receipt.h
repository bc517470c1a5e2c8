#ifndef LLM_PROXY_LIMIT_RECEIPT_H
#define LLM_PROXY_LIMIT_RECEIPT_H

#include "llm_proxy/base/digest.h"
#include "llm_proxy/limit/limiter.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy
{

// The signed word of /internal/authz that a request has been charged.
struct Receipt {
    int64_t issued_s = 0;   // UNIX time
    std::string request_id; // holds no semicolon
    // Who counts the unit, as who gives it back must know: letters and digits.
    // Empty: nobody says, and the stamp means nothing.
    std::string counter;
    LimitStamp stamp;   // its source is not written
    Sha256 signature{}; // of one that was read
};

// As it travels in X-RateLimit-Checked:
// v1;issued_s;request_id;16 HEX DIGITS OF THE TOKEN'S DIGEST;HMAC-SHA-256
// where :counter:MINUTE:DAY follows the digits, if there is a counter. The
// same receipt is written in the same bytes.
std::string make_receipt(std::string_view secret, const Sha256 &token,
                         const Receipt &receipt);

enum class ReceiptFault {
    None,
    Malformed,
    Forged,
    Stale,
    OtherToken,
    Used,
    TooMany, // nobody can say whether it was used
};
const char *receipt_fault_name(ReceiptFault fault);

// A web server asks before it reads the body, and shows the receipt when it
// has read it: 20 MiB at half a megabit a second take this long.
constexpr int64_t kReceiptLifeS = 300;
// How far the clock of who signs may be ahead of the one of who checks.
constexpr int64_t kReceiptSkewS = 30;

// As long as one may still be shown it must be known whether it was.
constexpr int64_t kReceiptMemoryMs = (kReceiptLifeS + kReceiptSkewS + 1) * 1000;

// Judges a receipt but for having been used before; `out` is filled on None.
[[nodiscard]] ReceiptFault check_receipt(std::string_view secret,
                                         const Sha256 &token, int64_t now_s,
                                         std::string_view text, Receipt &out);

} // namespace llmproxy

#endif
