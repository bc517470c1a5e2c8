#ifndef LLM_PROXY_LIMIT_MEMORY_LIMITER_H
#define LLM_PROXY_LIMIT_MEMORY_LIMITER_H

#include "llm_proxy/base/clock.h"
#include "llm_proxy/base/error.h"
#include "llm_proxy/base/fd.h"
#include "llm_proxy/limit/day_counters.h"
#include "llm_proxy/limit/limiter.h"

#include <memory>
#include <string>
#include <vector>

namespace llmproxy
{

class LimitMemory;

// What a token has used.
struct TokenUse {
    uint64_t minute = 0; // of the window that runs
    uint64_t day = 0;
    uint64_t running = 0;        // requests
    int64_t reset_minute_ms = 0; // to the end of the window; 0 = none runs
    int64_t reset_day_ms = 0;
};

// The counters of all tokens, shared by every worker of the process and kept
// over reloads. One record per digest with a lock of its own; records are
// never moved or freed while the process lives. They are in memory that a
// process which takes this one's place shares, until the last request of this
// one has ended: both together admit what one would.
class MemoryLimitTable
{
public:
    explicit MemoryLimitTable(const Clock &clock);
    ~MemoryLimitTable();
    MemoryLimitTable(const MemoryLimitTable &) = delete;
    MemoryLimitTable &operator=(const MemoryLimitTable &) = delete;
    MemoryLimitTable(MemoryLimitTable &&) = delete;
    MemoryLimitTable &operator=(MemoryLimitTable &&) = delete;

    // Goes on with the records of another process. Before anything else.
    [[nodiscard]] bool adopt(Fd memory, Error &err);
    // The descriptor of the records, for another process' adopt(); 100 or
    // above.
    int memory() const;
    // Gives back what processes had running that died; true if there is
    // another one. Called by the supervisor.
    bool reclaim();
    // Gives every principal the slot of its record, making new ones. Called
    // by the supervisor before a configuration is published.
    void assign_slots(TokenTable &tokens);
    // What is used of the day that runs, by every token that used any; tokens
    // that a reload took away are still counted. Called by the supervisor.
    std::vector<DayCounter> day_counters();
    // Goes on from counters of an earlier process, tokens that are not known
    // (yet) included. Called by the supervisor before anybody is admitted.
    void restore(const std::vector<DayCounter> &counters);

    // Any thread.
    LimitVerdict admit(const Principal &principal);
    LimitVerdict peek(const Principal &principal);
    void refund(const Principal &principal, const LimitStamp &stamp);
    TokenUse use_of(const Principal &principal);
    // Both windows are as if nothing had been used.
    void reset(const Principal &principal);
    // Counts one more running request; false if the token has as many as it
    // may. Each success is followed by one leave() with the principal's slot.
    [[nodiscard]] bool enter(const Principal &principal);
    void leave(uint32_t slot);

private:
    LimitVerdict decide(const Principal &principal, bool take);

    const Clock &clock_;
    std::unique_ptr<LimitMemory> records_;
};

// A worker's door to the table: answers at once, always.
class MemoryLimiter final : public Limiter
{
public:
    explicit MemoryLimiter(MemoryLimitTable &table) : table_(table) {}

    std::optional<LimitVerdict> admit(const Principal &principal,
                                      uint64_t exchange_id,
                                      LimitSink &sink) override;
    std::optional<LimitVerdict> redeem(const Principal &principal,
                                       std::string_view request_id,
                                       const LimitStamp &stamp,
                                       uint64_t exchange_id,
                                       LimitSink &sink) override;
    void return_receipt(const Principal &principal, std::string_view request_id,
                        const LimitStamp &stamp) override;
    void refund(const Principal &principal, const LimitStamp &stamp) override;
    std::optional<LimitVerdict> peek(const Principal &principal) override;
    void forget(uint64_t exchange_id) override;
    void reset(const Principal &principal, ResetDone done) override;
    void forget_token(const Principal & /*principal*/) override {}

private:
    MemoryLimitTable &table_;
};

} // namespace llmproxy

#endif
