// Where Redis does not decide: how long to wait for it, when to stop asking,
// who decides instead, and what the log says of it.
#include "llm_proxy/base/log.h"

#include <algorithm>

#include "redis_room.h"

namespace llmproxy
{

namespace
{

// After this many timeouts in a row nobody waits until a probe was answered.
constexpr unsigned kMaxTimeouts = 3;
constexpr int64_t kProbeMs = 1000;
// A server that lets this many probes go by gets a new connection.
constexpr unsigned kMaxProbes = 10;
constexpr int64_t kTellKeyMs = 60'000;

uint64_t share(uint64_t limit, uint64_t instances)
{
    return limit == 0 ? 0 : std::max<uint64_t>(limit / instances, 1);
}

} // namespace

bool RedisRoom::may_ask() const
{
    return (connection_.ready() ? !bypassed_ : starting_) &&
           calls_.size() < kMaxCalls;
}

// The token with this daemon's share of its limits.
Principal RedisRoom::counted_here(const Account &account) const
{
    Principal counted;
    counted.digest = account.digest;
    counted.slot = account.slot;
    counted.rpm = share(account.rpm, lease_rule_.instances);
    counted.rpd = share(account.rpd, lease_rule_.instances);
    return counted;
}

LimitVerdict RedisRoom::stand_in(const Call &call)
{
    if (calls_.size() >= kMaxCalls) {
        report(kOverload, "");
    }
    if (!call.request_id.empty() && policy_ != StoreErrorPolicy::Deny) {
        // This daemon alone has not seen the receipt before.
        return charged_verdict(call.stamp);
    }
    LimitVerdict verdict;
    switch (policy_) {
    case StoreErrorPolicy::Open:
        verdict.stamp.source = LimitStamp::Source::Nobody;
        break;
    case StoreErrorPolicy::Deny:
        verdict.outcome = LimitVerdict::Outcome::Unavailable;
        break;
    case StoreErrorPolicy::Local:
        verdict = stand_in_.admit(counted_here(call.account));
        verdict.stamp.source = LimitStamp::Source::StandIn;
        break;
    }
    return verdict;
}

void RedisRoom::report(const StoreFault &fault, std::string_view text)
{
    static const char *const deciders[] = {"each daemon counts its share",
                                           "every request is admitted",
                                           "every request is refused"};
    const bool operator_acts = fault.reaction == Reaction::Slow;
    if (!health_.failed(fault.kind, operator_acts, loop_.now_ms())) {
        return;
    }
    const std::string line =
        "rate limits: " + masked_redis_url(connection_.target().url) +
        " does not decide, " + deciders[static_cast<size_t>(policy_)] + "; " +
        describe(fault, text);
    if (operator_acts) {
        log_error("%s", line.c_str());
    } else {
        log_warning("%s", line.c_str());
    }
}

// Another application's value: an error, but of this token alone.
void RedisRoom::report_key(const Account &account, const StoreFault &fault)
{
    const int64_t now_ms = loop_.now_ms();
    if (key_told_ms_ == -1 || now_ms - key_told_ms_ >= kTellKeyMs) {
        key_told_ms_ = now_ms;
        log_error("rate limits: %s: the value at %s is not ours; remove it, "
                  "or give the daemon a database of its own",
                  fault.kind, redis_key(account.digest).c_str());
    }
}

void RedisRoom::on_timer(Timer &timer)
{
    if (&timer == &deadline_timer_) {
        on_deadlines();
    } else if (&timer == &probe_timer_) {
        on_probe_time();
    } else {
        give_leases_back(false);
    }
}

void RedisRoom::on_deadlines()
{
    // What has arrived while the loop was busy is in time.
    connection_.read_now();
    const int64_t now_ms = loop_.now_ms();
    while (!deadlines_.empty()) {
        const Deadline next = deadlines_.front();
        const auto found = calls_.find(next.id);
        const bool waits =
            found != calls_.end() && found->second.sink != nullptr;
        if (waits && next.at_ms > now_ms) {
            deadline_timer_.arm(next.at_ms - now_ms);
            break;
        }
        deadlines_.pop_front();
        if (waits) {
            timeouts_++;
            report(kTimedOut, "");
            decide(found->second, stand_in(found->second));
        }
    }
    if (timeouts_ >= kMaxTimeouts && !bypassed_ && connection_.ready()) {
        bypassed_ = true;
        probes_lost_ = 0;
        probe_timer_.arm(kProbeMs);
    }
    tell();
}

void RedisRoom::on_probe_time()
{
    if (!connection_.ready()) {
        return;
    }
    if (probing_ && ++probes_lost_ >= kMaxProbes) {
        connection_.drop(kConnectionLost, "the server does not answer");
        return;
    }
    if (!probing_) {
        probing_ = true;
        connection_.ping(RedisConnection::kFirstId);
    }
    probe_timer_.arm(kProbeMs);
}

void RedisRoom::on_probe_answered()
{
    probing_ = false;
    bypassed_ = false;
    timeouts_ = 0;
    probe_timer_.cancel();
}

} // namespace llmproxy
