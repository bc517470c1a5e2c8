// What a configuration's store is good for, found out before it is used, for
// -t --connect: a login and a run of the script.
#include "llm_proxy/limit/redis_limiter.h"

#include "redis_connection.h"

namespace llmproxy
{

namespace
{

constexpr int64_t kCheckMs = 3000;
constexpr uint64_t kPeekId = RedisConnection::kFirstId;

class StoreCheck final : private RedisUser, private TimerHandler
{
public:
    StoreCheck(EventLoop &loop, Resolver &resolver, const Config &config)
        : loop_(loop), timer_(loop, *this), connection_(loop, resolver, *this)
    {
        connection_.use(
            {config.redis_url, config.redis_ca_file, config.redis_trust});
    }
    virtual ~StoreCheck() = default;
    StoreCheck(const StoreCheck &) = delete;
    StoreCheck &operator=(const StoreCheck &) = delete;

    bool run(Error &err)
    {
        if (!over_) {
            timer_.arm(kCheckMs);
            loop_.run();
        }
        if (!failure_.empty()) {
            err.message = failure_;
        }
        return failure_.empty();
    }

private:
    void on_store_ready() override
    {
        ScriptCall peek;
        peek.op = ScriptOp::Peek;
        peek.key = "llmp:{probe}";
        peek.rpm = 1;
        connection_.call(kPeekId, peek, false);
    }
    void on_store_reply(uint64_t, const RedisReply &reply) override
    {
        Principal probe;
        probe.rpm = 1;
        LimitVerdict verdict;
        if (reply.kind == RedisReply::Kind::Error) {
            fail(find_fault(reply.text), reply.text);
        } else if (!read_verdict(reply, Account(probe), verdict)) {
            fail(kBadReply, "");
        }
        end();
    }
    void on_store_replies_done() override {}
    void on_store_lost(const StoreFault &fault, std::string_view text) override
    {
        fail(fault, text);
        end();
    }
    void on_timer(Timer &) override
    {
        fail(kTimedOut, "");
        end();
    }

    void fail(const StoreFault &fault, std::string_view text)
    {
        if (failure_.empty()) {
            failure_ = describe(fault, text);
        }
    }
    void end()
    {
        over_ = true;
        loop_.stop();
    }

    EventLoop &loop_;
    Timer timer_;
    RedisConnection connection_;
    std::string failure_;
    bool over_ = false;
};

} // namespace

bool check_redis(EventLoop &loop, Resolver &resolver, const Config &config,
                 Error &err)
{
    StoreCheck check(loop, resolver, config);
    return check.run(err);
}

} // namespace llmproxy
