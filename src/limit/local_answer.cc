// Answers that need no round trip: the denial of a moment ago, and units that
// were taken ahead. Neither admits what the store has not charged.
#include "local_answer.h"

#include <algorithm>

namespace llmproxy
{

namespace
{

constexpr uint64_t kBusyRpm = 600;
constexpr uint64_t kMaxLease = 32;
constexpr int64_t kLeaseMs = 1000;
constexpr int64_t kDenyMs = 1000;
// The loop's time may be this far behind.
constexpr int64_t kSlackMs = 20;

void add_units(LimitVerdict &verdict, uint64_t units)
{
    verdict.remaining_minute =
        std::min(verdict.rpm, verdict.remaining_minute + units);
    verdict.remaining_day =
        std::min(verdict.rpd, verdict.remaining_day + units);
}

void take_unit(LimitVerdict &verdict)
{
    verdict.remaining_minute -= verdict.remaining_minute > 0 ? 1 : 0;
    verdict.remaining_day -= verdict.remaining_day > 0 ? 1 : 0;
}

// Of the limits that the token has.
uint64_t least_left(const LimitVerdict &verdict)
{
    const uint64_t minute =
        verdict.rpm == 0 ? UINT64_MAX : verdict.remaining_minute;
    const uint64_t day = verdict.rpd == 0 ? UINT64_MAX : verdict.remaining_day;
    return std::min(minute, day);
}

} // namespace

uint64_t daemon_lease(uint64_t rpm, const LeaseRule &rule)
{
    return rule.on && rpm >= kBusyRpm
               ? std::clamp<uint64_t>(rpm / (20 * rule.instances), 1, kMaxLease)
               : 1;
}

uint64_t worker_lease(uint64_t rpm, const LeaseRule &rule)
{
    return std::max<uint64_t>(daemon_lease(rpm, rule) / rule.workers, 1);
}

bool LocalAnswer::fits(const Account &account) const
{
    return heard_ms_ != -1 && last_.rpm == account.rpm &&
           last_.rpd == account.rpd;
}

LimitVerdict LocalAnswer::aged(int64_t now_ms) const
{
    LimitVerdict verdict = last_;
    const int64_t age = now_ms - heard_ms_;
    verdict.reset_minute_ms =
        std::max<int64_t>(verdict.reset_minute_ms - age, 0);
    verdict.reset_day_ms = std::max<int64_t>(verdict.reset_day_ms - age, 0);
    return verdict;
}

std::optional<LimitVerdict> LocalAnswer::answer(const Account &account,
                                                int64_t now_ms)
{
    if (!fits(account)) {
        return std::nullopt;
    }
    if (leased_ > 0 && now_ms < lease_until_ms_) {
        leased_--;
        take_unit(last_);
        LimitVerdict verdict = aged(now_ms);
        verdict.outcome = LimitVerdict::Outcome::Admitted;
        verdict.stamp = lease_stamp_;
        return verdict;
    }
    if (now_ms < deny_until_ms_) {
        return aged(now_ms);
    }
    return std::nullopt;
}

uint64_t LocalAnswer::ask(const Account &account, const LeaseRule &rule)
{
    const uint64_t units = worker_lease(account.rpm, rule);
    if (units == 1 || asking_ || leased_ > 0 || !fits(account) || !roomy_ ||
        least_left(last_) <
            2 * daemon_lease(account.rpm, rule) * rule.instances) {
        return 1;
    }
    asking_ = true;
    return units;
}

LimitVerdict LocalAnswer::learn(const LimitVerdict &verdict, uint64_t units,
                                int64_t sent_ms, int64_t now_ms)
{
    last_ = verdict;
    heard_ms_ = now_ms;
    roomy_ = verdict.outcome == LimitVerdict::Outcome::Admitted;
    if (!roomy_) {
        const int64_t wait = verdict.outcome == LimitVerdict::Outcome::DeniedDay
                                 ? verdict.reset_day_ms
                                 : verdict.reset_minute_ms;
        deny_until_ms_ = now_ms + std::min(wait, kDenyMs);
        return verdict;
    }
    deny_until_ms_ = -1;
    if (units > 1) {
        asking_ = false;
        leased_ = units - 1;
        lease_stamp_ = verdict.stamp;
        // Redis' windows were at least this long when it was asked.
        lease_until_ms_ =
            sent_ms + std::min({kLeaseMs, verdict.reset_minute_ms - kSlackMs,
                                verdict.reset_day_ms - kSlackMs});
    }
    add_units(last_, leased_);
    return last_;
}

void LocalAnswer::refunded()
{
    deny_until_ms_ = -1;
    add_units(last_, 1);
}

std::optional<LimitVerdict> LocalAnswer::last(const Account &account,
                                              int64_t now_ms) const
{
    const int64_t age = now_ms - heard_ms_;
    if (!fits(account) || age >= last_.reset_day_ms ||
        (last_.rpm > 0 && age >= last_.reset_minute_ms)) {
        return std::nullopt;
    }
    LimitVerdict verdict = aged(now_ms);
    verdict.outcome = LimitVerdict::Outcome::Admitted;
    return verdict;
}

uint64_t LocalAnswer::take_back(int64_t now_ms, bool all, LimitStamp &stamp)
{
    if (leased_ == 0 || (!all && now_ms < lease_until_ms_)) {
        return 0;
    }
    const uint64_t units = leased_;
    leased_ = 0;
    stamp = lease_stamp_;
    return units;
}

} // namespace llmproxy
