#ifndef LLM_PROXY_SRC_LIMIT_LOCAL_ANSWER_H
#define LLM_PROXY_SRC_LIMIT_LOCAL_ANSWER_H

#include "llm_proxy/limit/limiter.h"

#include <cstdint>
#include <optional>

#include "redis_reply.h"

namespace llmproxy
{

// How units may be taken ahead.
struct LeaseRule {
    bool on = false;
    uint64_t instances = 1; // daemons
    uint64_t workers = 1;   // of each
};

// Units that all workers of a daemon together may hold of a token that has
// this limit: clamp(rpm / (20 * instances), 1, 32) from 600 a minute on, else
// 1, which is no lease.
uint64_t daemon_lease(uint64_t rpm, const LeaseRule &rule);
// A worker's share of it.
uint64_t worker_lease(uint64_t rpm, const LeaseRule &rule);

// What one worker may say of one token without asking the store: for a
// second that it is denied, and yes as long as it holds units that were taken
// ahead. Times are the loop's, in ms.
class LocalAnswer
{
public:
    // Nothing: ask the store.
    std::optional<LimitVerdict> answer(const Account &account, int64_t now_ms);
    // Units to ask the store for. More than 1 begins a lease, which learn()
    // or lost() ends.
    uint64_t ask(const Account &account, const LeaseRule &rule);
    // The store admitted `units` or denied one; `sent_ms` is when it was
    // asked. Returns what that means for the request that asked.
    LimitVerdict learn(const LimitVerdict &verdict, uint64_t units,
                       int64_t sent_ms, int64_t now_ms);
    // The store did not give a lease.
    void lost() { asking_ = false; }
    // A unit was given back.
    void refunded();
    // What was heard last, if both windows are still the same.
    std::optional<LimitVerdict> last(const Account &account,
                                     int64_t now_ms) const;
    // Units of a lease that is over (of any, with `all`), which the caller
    // gives back; 0 = none.
    uint64_t take_back(int64_t now_ms, bool all, LimitStamp &stamp);
    bool holds_lease() const { return leased_ > 0; }

private:
    bool fits(const Account &account) const;
    LimitVerdict aged(int64_t now_ms) const;

    LimitVerdict last_;     // its remaining counts units that are leased
    int64_t heard_ms_ = -1; // -1 = never
    int64_t deny_until_ms_ = -1;
    uint64_t leased_ = 0;
    LimitStamp lease_stamp_;
    int64_t lease_until_ms_ = -1;
    bool asking_ = false; // for a lease
    bool roomy_ = false;  // enough is left for one
};

} // namespace llmproxy

#endif
