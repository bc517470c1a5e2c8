#ifndef LLM_PROXY_SRC_LIMIT_REDIS_REPLY_H
#define LLM_PROXY_SRC_LIMIT_REDIS_REPLY_H

#include "llm_proxy/base/digest.h"
#include "llm_proxy/limit/limiter.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

// What Redis answers and what it means. Pure: no socket, no hiredis.
namespace llmproxy
{

// One reply; the text ends with the call it is handed to.
struct RedisReply {
    enum class Kind { Error, Text, Numbers, Other } kind = Kind::Other;
    std::string_view text;            // of Error and Text
    std::array<int64_t, 8> numbers{}; // of Numbers: always all of them
};

// What a request needs to know of its token; outlives the configuration that
// it came from.
struct Account {
    explicit Account(const Principal &principal)
        : digest(principal.digest), slot(principal.slot), rpm(principal.rpm),
          rpd(principal.rpd)
    {
    }

    Sha256 digest;
    uint32_t slot;
    uint64_t rpm;
    uint64_t rpd;
};

// llmp:{32 hex digits}: a part of the digest, never the token.
std::string redis_key(const Sha256 &digest);

// And llmp:{32 hex digits}:id of a request whose receipt was used.
std::string redis_receipt_key(const Sha256 &digest,
                              std::string_view request_id);

enum class ScriptOp { Take, Refund, Peek };
const char *script_op_name(ScriptOp op);

// KEYS and ARGV of the script.
struct ScriptCall {
    ScriptOp op = ScriptOp::Take;
    std::string key;
    std::string receipt_key; // empty: there is no receipt
    uint64_t rpm = 0;
    uint64_t rpd = 0;
    uint64_t units = 1;
    LimitStamp stamp; // of a refund
};

// Limits as the script gets them: its numbers are doubles.
uint64_t script_limit(uint64_t limit);

// False if the numbers cannot be the script's answer for these limits.
[[nodiscard]] bool read_verdict(const RedisReply &reply, const Account &account,
                                LimitVerdict &out);
// Whether the script knew by the receipt alone, see redis_script.h.
bool is_new_receipt(const RedisReply &reply);

enum class Reaction {
    Decide,    // nothing but the request is concerned
    ThisKey,   // another application's value stands at this token's key
    SendBody,  // the server has lost the script
    Reconnect, // the connection is of no use any more
    Slow,      // nor will the next one be, until somebody has acted
};

// A way in which the store fails.
struct StoreFault {
    const char *prefix; // of an error's text; nullptr: found otherwise
    const char *kind;   // for logs
    Reaction reaction;
    const char *advice; // nullptr: the server's own words say enough
};

extern const StoreFault kUnreachable;
extern const StoreFault kConnectionLost;
extern const StoreFault kTlsFailed;
extern const StoreFault kTimedOut;
extern const StoreFault kBadReply;
extern const StoreFault kOverload;
extern const StoreFault kLoginRefused;
extern const StoreFault kWrongDatabase;
extern const StoreFault kScriptRefused;
// Of an error's text; every text has one.
const StoreFault &find_fault(std::string_view text);
// "kind: what is wrong", for logs and for -t.
std::string describe(const StoreFault &fault, std::string_view text);

} // namespace llmproxy

#endif
