#ifndef LLM_PROXY_SRC_LIMIT_REDIS_TLS_H
#define LLM_PROXY_SRC_LIMIT_REDIS_TLS_H

#include "llm_proxy/base/error.h"

#include <string>

#include "redis_reply.h"

struct redisContext;
struct ssl_st;

namespace llmproxy
{

class RedisTrust;

// TLS on one connection to Redis. In a build without it no configuration asks
// for it.
class RedisTls
{
public:
    // Speaks TLS on a connection that hiredis has just made; the server must
    // prove by `trust` that it is `host`, which it is also told. Never waits:
    // hiredis does the rest as it reads and writes. nullptr, or what is wrong.
    [[nodiscard]] const StoreFault *begin(redisContext &context,
                                          const RedisTrust *trust,
                                          const std::string &host, Error &err);
    // Before hiredis reads or writes: OpenSSL has one list of errors for a
    // thread, and what others left there would count for the connection's.
    void prepare() const;
    // While hiredis ends the connection: what OpenSSL knows of why, or
    // nullptr.
    const StoreFault *find_fault(std::string &text) const;
    // Whether the server has yet to answer in TLS.
    bool waiting() const;
    // The connection is gone.
    void end() { session_ = nullptr; }

private:
    ssl_st *session_ = nullptr; // hiredis owns it
};

} // namespace llmproxy

#endif
