// Decisions by Redis: what is asked, what comes back, and what is given back.
#include "llm_proxy/limit/redis_limiter.h"

#include "llm_proxy/base/log.h"

#include <algorithm>
#include <utility>

#include "redis_room.h"

namespace llmproxy
{

namespace
{

constexpr uint64_t kProbeId = RedisConnection::kFirstId;
constexpr int64_t kLeaseSweepMs = 100;

} // namespace

std::unique_ptr<RedisLimiter> RedisLimiter::make(EventLoop &loop,
                                                 Resolver &resolver,
                                                 MemoryLimitTable &stand_in,
                                                 StoreHealth &health,
                                                 const Config &config)
{
    std::unique_ptr<RedisLimiter> limiter =
        std::make_unique<RedisRoom>(loop, resolver, stand_in, health);
    limiter->configure(config);
    return limiter;
}

std::string redis_version()
{
    return RedisConnection::version();
}

RedisRoom::RedisRoom(EventLoop &loop, Resolver &resolver,
                     MemoryLimitTable &stand_in, StoreHealth &health)
    : loop_(loop), stand_in_(stand_in), health_(health),
      connection_(loop, resolver, *this), deadline_timer_(loop, *this),
      probe_timer_(loop, *this), lease_timer_(loop, *this)
{
}

RedisRoom::~RedisRoom()
{
    give_leases_back(true);
    connection_.flush();
}

void RedisRoom::configure(const Config &config)
{
    give_leases_back(true);
    connection_.flush();
    locals_.clear();
    policy_ = config.limit_on_error;
    timeout_ms_ = config.redis_timeout_ms;
    lease_rule_ = {config.limit_lease, config.limit_instances, config.workers};
    RedisTarget target = {config.redis_url, config.redis_ca_file,
                          config.redis_trust};
    if (target == connection_.target()) {
        connection_.trust(std::move(target.trust));
        return;
    }
    connection_.use(std::move(target));
    if (!calls_.empty()) {
        // They were asked of the server that was left.
        on_store_lost(kConnectionLost, "REDIS_URL has changed");
    }
    owed_.clear(); // to that server
    starting_ = connection_.connecting();
}

LocalAnswer &RedisRoom::local_of(const Account &account)
{
    if (account.slot >= locals_.size()) {
        locals_.resize(account.slot + size_t{1});
    }
    return locals_[account.slot];
}

std::optional<LimitVerdict> RedisRoom::admit(const Principal &principal,
                                             uint64_t exchange_id,
                                             LimitSink &sink)
{
    if (principal.rpm == 0 && principal.rpd == 0) {
        LimitVerdict unlimited;
        unlimited.stamp.source = LimitStamp::Source::Nobody;
        return unlimited;
    }
    const Account account(principal);
    LocalAnswer &local = local_of(account);
    const std::optional<LimitVerdict> known =
        local.answer(account, loop_.now_ms());
    if (known) {
        return known;
    }
    Call call(account);
    if (!may_ask()) {
        return stand_in(call);
    }
    call.units = local.ask(account, lease_rule_);
    ask(std::move(call), exchange_id, sink);
    return std::nullopt;
}

std::optional<LimitVerdict> RedisRoom::redeem(const Principal &principal,
                                              std::string_view request_id,
                                              const LimitStamp &stamp,
                                              uint64_t exchange_id,
                                              LimitSink &sink)
{
    if (principal.rpm == 0 && principal.rpd == 0) {
        return charged_verdict(stamp);
    }
    Call call((Account(principal)));
    call.request_id = request_id;
    call.stamp = stamp;
    if (!may_ask()) {
        return stand_in(call);
    }
    ask(std::move(call), exchange_id, sink);
    return std::nullopt;
}

void RedisRoom::return_receipt(const Principal &principal,
                               std::string_view request_id,
                               const LimitStamp &stamp)
{
    const Account account(principal);
    if (stamp.source == LimitStamp::Source::StandIn) {
        undo(account, stamp);
    }
    // So many clients may show receipts at once.
    if ((principal.rpm == 0 && principal.rpd == 0) ||
        calls_.size() >= kMaxCalls) {
        return;
    }
    Call call(account);
    call.request_id = request_id;
    if (stamp.source == LimitStamp::Source::Store) {
        local_of(account).refunded();
        call.stamp = stamp;
    }
    give_back(std::move(call));
    connection_.flush();
}

void RedisRoom::ask(Call call, uint64_t exchange_id, LimitSink &sink)
{
    const int64_t now_ms = loop_.now_ms();
    const uint64_t id = ++last_id_;
    call.sink = &sink;
    call.exchange_id = exchange_id;
    call.sent_ms = now_ms;
    const Call &asked = calls_.emplace(id, std::move(call)).first->second;
    waiting_.emplace(exchange_id, id);
    deadlines_.push_back({now_ms + timeout_ms_, id});
    if (!deadline_timer_.armed()) {
        deadline_timer_.arm(timeout_ms_);
    }
    if (connection_.ready()) {
        send(id, asked);
    } else {
        held_.push_back(id);
    }
}

void RedisRoom::send(uint64_t id, const Call &call)
{
    ScriptCall script;
    script.op = call.refund ? ScriptOp::Refund : ScriptOp::Take;
    script.key = redis_key(call.account.digest);
    if (!call.request_id.empty()) {
        script.receipt_key =
            redis_receipt_key(call.account.digest, call.request_id);
    }
    script.rpm = call.account.rpm;
    script.rpd = call.account.rpd;
    script.units = call.units;
    script.stamp = call.stamp;
    connection_.call(id, script, call.body_sent);
}

void RedisRoom::refund(const Principal &principal, const LimitStamp &stamp)
{
    undo(Account(principal), stamp);
}

void RedisRoom::undo(const Account &account, const LimitStamp &stamp)
{
    if (stamp.source == LimitStamp::Source::StandIn) {
        stand_in_.refund(counted_here(account), stamp);
    } else if (stamp.source == LimitStamp::Source::Store) {
        local_of(account).refunded();
        give_back(account, 1, stamp);
        // Before its client hears of it and asks again, of another worker.
        connection_.flush();
    }
}

void RedisRoom::give_back(const Account &account, uint64_t units,
                          const LimitStamp &stamp)
{
    Call call(account);
    call.units = units;
    call.stamp = stamp;
    give_back(std::move(call));
}

// What was sent and not answered is not sent again: it may have been counted.
void RedisRoom::give_back(Call call)
{
    call.refund = true;
    if (connection_.ready()) {
        const uint64_t id = ++last_id_;
        send(id, calls_.emplace(id, std::move(call)).first->second);
    } else {
        owe(std::move(call));
    }
}

// What Redis cannot be told now it is told when it is there: the stamp keeps
// a unit out of windows that are not its own.
void RedisRoom::owe(Call call)
{
    if (owed_.size() < kMaxOwed) {
        owed_.push_back(std::move(call));
    } else {
        log_debug("rate limits: %llu units are not given back",
                  static_cast<unsigned long long>(call.units));
    }
}

void RedisRoom::give_leases_back(bool all)
{
    const int64_t now_ms = loop_.now_ms();
    std::vector<Account> kept;
    for (const Account &account : leases_) {
        LocalAnswer &local = local_of(account);
        LimitStamp stamp;
        const uint64_t units = local.take_back(now_ms, all, stamp);
        if (units > 0) {
            give_back(account, units, stamp);
        } else if (local.holds_lease()) {
            kept.push_back(account);
        }
    }
    leases_ = std::move(kept);
    if (!leases_.empty()) {
        lease_timer_.arm(kLeaseSweepMs);
    }
}

std::optional<LimitVerdict> RedisRoom::peek(const Principal &principal)
{
    const Account account(principal);
    if (!may_ask() && policy_ == StoreErrorPolicy::Local) {
        return stand_in_.peek(counted_here(account));
    }
    return local_of(account).last(account, loop_.now_ms());
}

void RedisRoom::forget(uint64_t exchange_id)
{
    const auto found = waiting_.find(exchange_id);
    if (found != waiting_.end()) {
        calls_.at(found->second).sink = nullptr;
        waiting_.erase(found);
        return;
    }
    const auto told =
        std::find_if(decided_.begin(), decided_.end(), [&](const Decided &d) {
            return d.exchange_id == exchange_id;
        });
    if (told != decided_.end()) {
        const Decided gone = *told;
        decided_.erase(told);
        if (gone.verdict.outcome == LimitVerdict::Outcome::Admitted ||
            gone.verdict.outcome == LimitVerdict::Outcome::Charged) {
            undo(gone.account, gone.verdict.stamp);
        }
    }
}

void RedisRoom::reset(const Principal &principal, ResetDone done)
{
    if (!connection_.ready()) {
        done("Redis is not connected");
        return;
    }
    const Account account(principal);
    const uint64_t id = ++last_id_;
    calls_.emplace(id, account).first->second.reset = std::move(done);
    connection_.remove(id, redis_key(account.digest));
}

// Units of a lease were taken from windows that are no more, and so were
// those that are owed.
void RedisRoom::forget_token(const Principal &principal)
{
    local_of(Account(principal)) = LocalAnswer();
    owed_.erase(std::remove_if(owed_.begin(), owed_.end(),
                               [&](const Call &call) {
                                   return call.account.digest ==
                                          principal.digest;
                               }),
                owed_.end());
}

void RedisRoom::on_store_ready()
{
    starting_ = false;
    bypassed_ = false;
    probing_ = false;
    timeouts_ = 0;
    for (const uint64_t id : held_) {
        const auto found = calls_.find(id);
        if (found->second.sink == nullptr) {
            calls_.erase(found); // decided already; it was never sent
        } else {
            found->second.sent_ms = loop_.now_ms();
            send(id, found->second);
        }
    }
    held_.clear();
    for (Call &call : std::exchange(owed_, {})) {
        give_back(std::move(call));
    }
}

void RedisRoom::on_store_reply(uint64_t id, const RedisReply &reply)
{
    if (id == kProbeId) {
        on_probe_answered();
        return;
    }
    const auto at = calls_.find(id);
    if (at == calls_.end()) {
        return;
    }
    if (at->second.reset != nullptr) {
        const bool refused = reply.kind == RedisReply::Kind::Error;
        at->second.reset(refused ? std::string(reply.text) : std::string());
        calls_.erase(at);
        return;
    }
    LimitVerdict verdict;
    if (reply.kind == RedisReply::Kind::Error) {
        on_fault(at, reply.text);
    } else if (!at->second.request_id.empty() && is_new_receipt(reply)) {
        on_charged(at);
    } else if (read_verdict(reply, at->second.account, verdict)) {
        on_verdict(at, verdict);
    } else {
        // This call, too, ends with the connection.
        connection_.drop(kBadReply, "");
    }
}

void RedisRoom::on_charged(Calls::iterator at)
{
    Call &call = at->second;
    connection_.worked();
    if (call.sink == nullptr && !call.refund) {
        // The client has left, or it was decided and the stamp is Nobody's.
        undo(call.account, call.stamp);
    } else if (call.sink != nullptr) {
        timeouts_ = 0;
        health_.works();
        decide(call, charged_verdict(call.stamp));
    }
    calls_.erase(at);
}

void RedisRoom::on_verdict(Calls::iterator at, const LimitVerdict &verdict)
{
    Call &call = at->second;
    if (call.refund) {
        calls_.erase(at);
        return;
    }
    connection_.worked();
    LocalAnswer &local = local_of(call.account);
    const bool admitted = verdict.outcome == LimitVerdict::Outcome::Admitted;
    if (call.sink == nullptr) {
        // Decided otherwise, or the client has left.
        if (call.units > 1) {
            local.lost();
        }
        if (admitted) {
            give_back(call.account, call.units, verdict.stamp);
        }
        calls_.erase(at);
        return;
    }
    timeouts_ = 0;
    health_.works();
    if (!admitted && call.units > 1) {
        local.lost();
        call.units = 1;
        call.sent_ms = loop_.now_ms();
        send(at->first, call);
        return;
    }
    const LimitVerdict known =
        local.learn(verdict, call.units, call.sent_ms, loop_.now_ms());
    if (local.holds_lease() && call.units > 1) {
        leases_.push_back(call.account);
        if (!lease_timer_.armed()) {
            lease_timer_.arm(kLeaseSweepMs);
        }
    }
    decide(call, known);
    calls_.erase(at);
}

void RedisRoom::on_fault(Calls::iterator at, std::string_view text)
{
    Call &call = at->second;
    const StoreFault &fault = find_fault(text);
    if (fault.reaction == Reaction::SendBody && !call.body_sent) {
        call.body_sent = true;
        send(at->first, call);
        return;
    }
    const bool lost = fault.reaction == Reaction::Reconnect ||
                      fault.reaction == Reaction::Slow;
    if (lost) {
        if (call.refund) { // known not to be counted
            owe(std::move(call));
            calls_.erase(at);
        }
        connection_.drop(fault, text); // and all calls with it
        return;
    }
    if (call.units > 1 && !call.refund) {
        local_of(call.account).lost();
    }
    if (call.sink != nullptr) {
        if (fault.reaction == Reaction::ThisKey) {
            report_key(call.account, fault);
            call.request_id.clear(); // known before: else it was not reached
        } else {
            report(fault, text);
        }
        decide(call, stand_in(call));
    }
    calls_.erase(at);
}

void RedisRoom::on_store_lost(const StoreFault &fault, std::string_view text)
{
    starting_ = false;
    bypassed_ = false;
    probing_ = false;
    timeouts_ = 0;
    probe_timer_.cancel();
    deadlines_.clear();
    held_.clear();
    report(fault, text);
    Calls calls;
    calls.swap(calls_);
    for (auto &entry : calls) {
        Call &call = entry.second;
        if (call.units > 1 && !call.refund) {
            local_of(call.account).lost();
        }
        if (call.reset != nullptr) {
            call.reset("the connection to Redis was lost");
        }
        if (call.sink != nullptr) {
            decide(call, stand_in(call));
        }
    }
    tell();
}

void RedisRoom::decide(Call &call, const LimitVerdict &verdict)
{
    waiting_.erase(call.exchange_id);
    decided_.push_back({call.sink, call.exchange_id, call.account, verdict});
    call.sink = nullptr;
    call.stamp.source = LimitStamp::Source::Nobody; // the exchange's own now
}

// An exchange that is told may end others, which are forgotten then.
void RedisRoom::tell()
{
    while (!decided_.empty()) {
        const Decided next = decided_.front();
        decided_.pop_front();
        next.sink->on_limit_verdict(next.exchange_id, next.verdict);
    }
}

} // namespace llmproxy
