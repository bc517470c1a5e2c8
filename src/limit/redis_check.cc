// What a configuration's store is good for, found out before it is used: its
// addresses, and for -t --connect a login and a run of the script.
#include "llm_proxy/limit/redis_limiter.h"

#include <netdb.h>

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
    explicit StoreCheck(const Config &config)
        : timer_(loop_, *this), connection_(loop_, *this)
    {
        connection_.use(
            {config.redis_url, config.redis_addresses, config.redis_ca_file});
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

    EventLoop loop_;
    Timer timer_;
    RedisConnection connection_;
    std::string failure_;
    bool over_ = false;
};

} // namespace

bool find_redis(Config &config, Error &err)
{
    const RedisUrl &url = config.redis_url;
    if (config.limit_store != LimitStore::Redis || !url.unix_path.empty()) {
        return true;
    }
    addrinfo wanted = {};
    wanted.ai_socktype = SOCK_STREAM;
    addrinfo *list = nullptr;
    const int code = getaddrinfo(url.host.c_str(), nullptr, &wanted, &list);
    if (code != 0) {
        err.message = url.host + ": " + gai_strerror(code);
        return false;
    }
    for (const addrinfo *one = list; one != nullptr; one = one->ai_next) {
        char text[NI_MAXHOST];
        if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text,
                        nullptr, 0, NI_NUMERICHOST) == 0) {
            config.redis_addresses.emplace_back(text);
        }
    }
    freeaddrinfo(list);
    return true;
}

bool check_redis(const Config &config, Error &err)
{
    StoreCheck check(config);
    return check.run(err);
}

} // namespace llmproxy
