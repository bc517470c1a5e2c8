// The memory store: one record per token, decided under the record's own
// lock with the clock read inside it, so that N allowed means N over any
// number of threads. Knows no configuration but the limits it is handed.

#include "llm_proxy/limit/memory_limiter.h"

#include <algorithm>
#include <utility>

#include "limit_memory.h"

namespace llmproxy
{

namespace
{

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kDayMs = 1440 * kMinuteMs;

// What is left of a limit that may have been lowered below its use.
uint64_t left(uint64_t limit, uint64_t used)
{
    return limit > used ? limit - used : 0;
}

bool is_used_up(uint64_t limit, uint64_t used)
{
    return limit > 0 && used >= limit;
}

int64_t day_of(int64_t wall_ms)
{
    const int64_t day = wall_ms / kDayMs;
    return wall_ms % kDayMs < 0 ? day - 1 : day;
}

// Leaves windows behind that are over. A wall clock that steps back over
// midnight keeps the day it had (else the day's limit would be given twice),
// but a day that lies further ahead came from a wrong clock.
void roll(LimitRecord &r, int64_t now_ms, int64_t today)
{
    if (r.minute_start_ms != kUnset &&
        now_ms - r.minute_start_ms >= kMinuteMs) {
        r.minute_start_ms = kUnset;
        r.minute_used = 0;
    }
    if (today > r.day || r.day > today + 1) {
        r.day = today;
        r.day_used = 0;
    }
}

} // namespace

MemoryLimitTable::MemoryLimitTable(const Clock &clock)
    : clock_(clock), records_(std::make_unique<LimitMemory>())
{
}

MemoryLimitTable::~MemoryLimitTable() = default;

bool MemoryLimitTable::adopt(Fd memory, Error &err)
{
    return records_->adopt(std::move(memory), err);
}

int MemoryLimitTable::memory() const
{
    return records_->fd();
}

bool MemoryLimitTable::reclaim()
{
    return records_->reclaim();
}

void MemoryLimitTable::assign_slots(TokenTable &tokens)
{
    for (Principal &principal : tokens.principals()) {
        principal.slot = records_->slot_of(principal.digest);
    }
}

std::vector<DayCounter> MemoryLimitTable::day_counters()
{
    std::vector<DayCounter> counters;
    for (const auto &[digest, slot] : records_->slots()) {
        LimitRecord &r = records_->record(slot);
        const SharedLock guard(r.lock);
        roll(r, clock_.mono_ms(), day_of(clock_.wall_ms()));
        if (r.day_used > 0) {
            counters.push_back({digest, r.day, r.day_used});
        }
    }
    return counters;
}

void MemoryLimitTable::restore(const std::vector<DayCounter> &counters)
{
    for (const DayCounter &counter : counters) {
        LimitRecord &r = records_->record(records_->slot_of(counter.digest));
        const SharedLock guard(r.lock);
        r.day = counter.day;
        r.day_used = counter.used;
    }
}

LimitVerdict MemoryLimitTable::decide(const Principal &principal, bool take)
{
    LimitRecord &r = records_->record(principal.slot);
    const SharedLock guard(r.lock);
    const int64_t now_ms = std::max(clock_.mono_ms(), r.minute_start_ms);
    const int64_t wall_ms = clock_.wall_ms();
    roll(r, now_ms, day_of(wall_ms));

    LimitVerdict verdict;
    if (is_used_up(principal.rpd, r.day_used)) {
        verdict.outcome = LimitVerdict::Outcome::DeniedDay;
    } else if (is_used_up(principal.rpm, r.minute_used)) {
        verdict.outcome = LimitVerdict::Outcome::DeniedMinute;
    } else if (take) {
        if (r.minute_start_ms == kUnset) {
            r.minute_start_ms = now_ms;
        }
        r.minute_used++;
        r.day_used++;
    }
    verdict.rpm = principal.rpm;
    verdict.rpd = principal.rpd;
    verdict.remaining_minute = left(principal.rpm, r.minute_used);
    verdict.remaining_day = left(principal.rpd, r.day_used);
    if (r.minute_start_ms != kUnset) {
        verdict.reset_minute_ms = r.minute_start_ms + kMinuteMs - now_ms;
    }
    verdict.reset_day_ms = (r.day + 1) * kDayMs - wall_ms;
    verdict.stamp = {r.minute_start_ms, r.day};
    return verdict;
}

LimitVerdict MemoryLimitTable::admit(const Principal &principal)
{
    return decide(principal, true);
}

LimitVerdict MemoryLimitTable::peek(const Principal &principal)
{
    return decide(principal, false);
}

void MemoryLimitTable::refund(const Principal &principal,
                              const LimitStamp &stamp)
{
    LimitRecord &r = records_->record(principal.slot);
    const SharedLock guard(r.lock);
    if (r.minute_start_ms == stamp.minute_start_ms && r.minute_used > 0) {
        r.minute_used--;
    }
    if (r.day == stamp.day && r.day_used > 0) {
        r.day_used--;
    }
}

TokenUse MemoryLimitTable::use_of(const Principal &principal)
{
    LimitRecord &r = records_->record(principal.slot);
    const SharedLock guard(r.lock);
    const int64_t now_ms = std::max(clock_.mono_ms(), r.minute_start_ms);
    const int64_t wall_ms = clock_.wall_ms();
    roll(r, now_ms, day_of(wall_ms));
    TokenUse use;
    use.minute = r.minute_used;
    use.day = r.day_used;
    use.running = r.running;
    if (r.minute_start_ms != kUnset) {
        use.reset_minute_ms = r.minute_start_ms + kMinuteMs - now_ms;
    }
    use.reset_day_ms = (r.day + 1) * kDayMs - wall_ms;
    return use;
}

void MemoryLimitTable::reset(const Principal &principal)
{
    LimitRecord &r = records_->record(principal.slot);
    const SharedLock guard(r.lock);
    r.minute_start_ms = kUnset;
    r.minute_used = 0;
    r.day_used = 0;
}

bool MemoryLimitTable::enter(const Principal &principal)
{
    LimitRecord &r = records_->record(principal.slot);
    const SharedLock guard(r.lock);
    if (is_used_up(principal.concurrency, r.running)) {
        return false;
    }
    r.running++;
    r.running_of[records_->process()]++;
    return true;
}

void MemoryLimitTable::leave(uint32_t slot)
{
    LimitRecord &r = records_->record(slot);
    const SharedLock guard(r.lock);
    r.running--;
    r.running_of[records_->process()]--;
}

std::optional<LimitVerdict> MemoryLimiter::admit(const Principal &principal,
                                                 uint64_t /*exchange_id*/,
                                                 LimitSink & /*sink*/)
{
    return table_.admit(principal);
}

std::optional<LimitVerdict>
MemoryLimiter::redeem(const Principal & /*principal*/,
                      std::string_view /*request_id*/, const LimitStamp &stamp,
                      uint64_t /*exchange_id*/, LimitSink & /*sink*/)
{
    return charged_verdict(stamp);
}

void MemoryLimiter::return_receipt(const Principal &principal,
                                   std::string_view /*request_id*/,
                                   const LimitStamp &stamp)
{
    refund(principal, stamp);
}

void MemoryLimiter::refund(const Principal &principal, const LimitStamp &stamp)
{
    if (stamp.source != LimitStamp::Source::Nobody) {
        table_.refund(principal, stamp);
    }
}

std::optional<LimitVerdict> MemoryLimiter::peek(const Principal &principal)
{
    return table_.peek(principal);
}

void MemoryLimiter::forget(uint64_t /*exchange_id*/) {}

void MemoryLimiter::reset(const Principal &principal, ResetDone done)
{
    table_.reset(principal);
    done("");
}

} // namespace llmproxy
