#ifndef LLM_PROXY_LIMIT_LIMITER_H
#define LLM_PROXY_LIMIT_LIMITER_H

#include "llm_proxy/config/tokens.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy
{

// Which windows a unit was taken from, so that a refund finds them again.
struct LimitStamp {
    int64_t minute_start_ms = 0;
    int64_t day = 0; // days since 1970, UTC
    // Who counts it: the store, or what stood in for a store that failed.
    enum class Source { Store, StandIn, Nobody } source = Source::Store;
};

struct LimitVerdict {
    enum class Outcome {
        Admitted,
        DeniedMinute,
        DeniedDay,
        Unavailable, // the store failed and the policy is deny
        // By the receipt that the request shows: nothing was taken. The stamp
        // is that of redeem(), and no other number means anything.
        Charged,
    } outcome = Outcome::Admitted;
    // Limits and what is left after this request, in requests; a limit of 0 =
    // unlimited.
    uint64_t rpm = 0;
    uint64_t rpd = 0;
    uint64_t remaining_minute = 0;
    uint64_t remaining_day = 0;
    int64_t reset_minute_ms = 0; // until the full limit is there again
    int64_t reset_day_ms = 0;
    LimitStamp stamp;
};

inline LimitVerdict charged_verdict(const LimitStamp &stamp)
{
    LimitVerdict verdict;
    verdict.outcome = LimitVerdict::Outcome::Charged;
    verdict.stamp = stamp;
    return verdict;
}

// Receives verdicts that could not be given at once.
class LimitSink
{
public:
    // From the loop, never from inside admit(), exactly once per admit()
    // that returned nothing, unless the exchange was forgotten.
    virtual void on_limit_verdict(uint64_t exchange_id,
                                  const LimitVerdict &verdict) = 0;

protected:
    ~LimitSink() = default;
};

// The store has forgotten what the token used; or why not. From the loop, or
// from inside reset(), once; not at all where the store does not answer.
using ResetDone = std::function<void(const std::string &why_not)>;

// Decides who may go on: a fixed window of 60 s anchored at the token's first
// request, and the UTC day; one unit is taken from both or from neither, and
// a denied request is free. One object per worker; the store behind it is
// shared.
class Limiter
{
public:
    virtual ~Limiter() = default;

    // Takes one unit. An answer now, or later through the sink, which must
    // call forget() if it goes first.
    virtual std::optional<LimitVerdict> admit(const Principal &principal,
                                              uint64_t exchange_id,
                                              LimitSink &sink) = 0;
    // The same for a request with a good receipt of `request_id` that this
    // process sees for the first time: Charged, unless another one has seen
    // it; then as admit(). Where the store fails, what this process has seen
    // decides, but with the policy deny. `stamp`: of the unit that was
    // charged; of Nobody's if this process does not know.
    virtual std::optional<LimitVerdict>
    redeem(const Principal &principal, std::string_view request_id,
           const LimitStamp &stamp, uint64_t exchange_id, LimitSink &sink) = 0;
    // A request that showed such a receipt is over and reached no backend:
    // uses the receipt up and gives the unit of `stamp` back, unless another
    // process has seen it. A store that is away hears of it later.
    virtual void return_receipt(const Principal &principal,
                                std::string_view request_id,
                                const LimitStamp &stamp) = 0;
    // Gives one unit back to the windows it was taken from, if they last; at
    // once, or when a store that is away is there again.
    virtual void refund(const Principal &principal,
                        const LimitStamp &stamp) = 0;
    // What admit() would say of the windows now, or said last where the store
    // answers later; takes nothing. Nothing is known: nothing.
    virtual std::optional<LimitVerdict> peek(const Principal &principal) = 0;
    // The exchange is gone: a verdict that is still to come is given back.
    virtual void forget(uint64_t exchange_id) = 0;
    // An operator gives the token its whole windows back, in the store. When
    // that is done each worker must be told, by forget_token(), to keep nothing
    // of what it knew.
    virtual void reset(const Principal &principal, ResetDone done) = 0;
    virtual void forget_token(const Principal &principal) = 0;
};

} // namespace llmproxy

#endif
