#ifndef LLM_PROXY_SRC_LIMIT_REDIS_ROOM_H
#define LLM_PROXY_SRC_LIMIT_REDIS_ROOM_H

#include "llm_proxy/limit/redis_limiter.h"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "local_answer.h"
#include "redis_connection.h"
#include "redis_reply.h"

namespace llmproxy
{

// The limiter behind the door: a table of the calls that Redis has not
// answered, an end to each wait, and what is done when no answer comes, or a
// useless one. A call keeps its entry until its reply has come, even if its
// request was decided otherwise meanwhile: what is granted then is given back.
class RedisRoom final : public RedisLimiter,
                        private RedisUser,
                        private TimerHandler
{
public:
    RedisRoom(EventLoop &loop, Resolver &resolver, MemoryLimitTable &stand_in,
              StoreHealth &health);
    ~RedisRoom() override;
    RedisRoom(const RedisRoom &) = delete;
    RedisRoom &operator=(const RedisRoom &) = delete;

    void configure(const Config &config) override;
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
    void forget_token(const Principal &principal) override;

private:
    static constexpr size_t kMaxCalls = 10'000; // without an answer
    // They go out in one turn, before those who wait for a decision.
    static constexpr size_t kMaxOwed = 1000;

    struct Call {
        explicit Call(const Account &who) : account(who) {}

        Account account;
        bool refund = false;
        bool body_sent = false;
        uint64_t units = 1;
        LimitStamp stamp;       // of a refund, or of what a receipt is of
        std::string request_id; // of a receipt that is shown; or empty
        // The exchange that waits; nullptr: none, or none any more.
        LimitSink *sink = nullptr;
        uint64_t exchange_id = 0;
        int64_t sent_ms = 0;
        ResetDone reset; // of an operator's reset
    };
    struct Decided {
        LimitSink *sink;
        uint64_t exchange_id;
        Account account;
        LimitVerdict verdict;
    };
    struct Deadline {
        int64_t at_ms;
        uint64_t id;
    };
    using Calls = std::unordered_map<uint64_t, Call>;

    void on_store_ready() override;
    void on_store_reply(uint64_t id, const RedisReply &reply) override;
    void on_store_replies_done() override { tell(); }
    void on_store_lost(const StoreFault &fault, std::string_view text) override;
    void on_timer(Timer &timer) override;

    // Asking and answers: redis_limiter.cc.
    LocalAnswer &local_of(const Account &account);
    void ask(Call call, uint64_t exchange_id, LimitSink &sink);
    void send(uint64_t id, const Call &call);
    void give_back(const Account &account, uint64_t units,
                   const LimitStamp &stamp);
    void give_back(Call call);
    void owe(Call call);
    void give_leases_back(bool all);
    void undo(const Account &account, const LimitStamp &stamp);
    void on_charged(Calls::iterator at);
    void on_verdict(Calls::iterator at, const LimitVerdict &verdict);
    void on_fault(Calls::iterator at, std::string_view text);
    void decide(Call &call, const LimitVerdict &verdict);
    void tell();

    // Where Redis does not decide: redis_patience.cc.
    bool may_ask() const;
    Principal counted_here(const Account &account) const;
    LimitVerdict stand_in(const Call &call);
    void report(const StoreFault &fault, std::string_view text);
    void report_key(const Account &account, const StoreFault &fault);
    void on_deadlines();
    void on_probe_time();
    void on_probe_answered();

    EventLoop &loop_;
    MemoryLimitTable &stand_in_;
    StoreHealth &health_;
    RedisConnection connection_;
    Timer deadline_timer_;
    Timer probe_timer_;
    Timer lease_timer_;

    StoreErrorPolicy policy_ = StoreErrorPolicy::Local;
    int64_t timeout_ms_ = 0;
    LeaseRule lease_rule_;

    uint64_t last_id_ = RedisConnection::kFirstId;
    Calls calls_;
    std::unordered_map<uint64_t, uint64_t> waiting_; // exchange -> its call
    std::deque<Deadline> deadlines_;  // in order; some calls may be over
    std::vector<uint64_t> held_;      // sent when the store is ready
    std::vector<Call> owed_;          // given back when the store is ready
    std::deque<Decided> decided_;     // to be told, in order
    std::vector<LocalAnswer> locals_; // by slot
    std::vector<Account> leases_;     // tokens that may hold one
    bool starting_ = false; // the server may well be there: wait for it
    bool bypassed_ = false; // it hangs: do not
    bool probing_ = false;  // a probe is on its way
    unsigned timeouts_ = 0; // in a row
    unsigned probes_lost_ = 0;
    int64_t key_told_ms_ = -1;
};

} // namespace llmproxy

#endif
