#ifndef LLM_PROXY_LIMIT_REDIS_LIMITER_H
#define LLM_PROXY_LIMIT_REDIS_LIMITER_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/config/settings.h"
#include "llm_proxy/limit/limiter.h"
#include "llm_proxy/limit/memory_limiter.h"
#include "llm_proxy/limit/store_health.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/loop/resolver.h"

#include <memory>
#include <string>

namespace llmproxy
{

// A worker's door to a Redis server that daemons share: one connection, one
// round trip a decision, all of a turn in one write. Where Redis does not
// decide in time RATE_LIMIT_ON_ERROR does; a unit that it grants too late is
// given back.
class RedisLimiter : public Limiter
{
public:
    // All but the configuration outlive the limiter. It begins to connect.
    static std::unique_ptr<RedisLimiter>
    make(EventLoop &loop, Resolver &resolver, MemoryLimitTable &stand_in,
         StoreHealth &health, const Config &config);
    // A new configuration: connects anew only if the server is another.
    virtual void configure(const Config &config) = 0;
};

// Fills config.redis_trust where a Redis server is spoken to in TLS. Reading
// the system's certificates takes 50 ms: not for a loop that serves. False: the
// configuration is of no use.
[[nodiscard]] bool read_redis_trust(Config &config, Error &err);
// Logs in, loads the script and runs it without taking anything; takes three
// seconds at most. The loop, which it runs and stops, is for nothing else.
[[nodiscard]] bool check_redis(EventLoop &loop, Resolver &resolver,
                               const Config &config, Error &err);
// "hiredis/1.2.0", and whether it speaks TLS.
std::string redis_version();

} // namespace llmproxy

#endif
