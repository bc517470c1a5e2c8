#ifndef LLM_PROXY_CONFIG_REDIS_URL_H
#define LLM_PROXY_CONFIG_REDIS_URL_H

#include "llm_proxy/base/error.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy
{

// Where a Redis server answers and how to log in there.
struct RedisUrl {
    bool tls = false;
    std::string host; // a name or an address, no brackets; empty for unix
    uint16_t port = 6379;
    std::string unix_path; // empty = TCP
    std::string user;      // empty = the default user
    std::string password;  // empty = no login
    uint64_t db = 0;
};

bool operator==(const RedisUrl &a, const RedisUrl &b);

// redis://[[user]:password@]host[:port][/db], the same with rediss:// for TLS,
// and unix:// or redis+unix://[[user]:password@]/path[?db=N]. User, password
// and path are percent-decoded. No message holds a part of the text, which may
// be a password.
[[nodiscard]] bool parse_redis_url(std::string_view text, RedisUrl &out,
                                   Error &err);
// Whether this build can speak TLS to Redis.
bool speaks_redis_tls();
// As redis://user:***@host:6379/0, for logs and -T.
std::string masked_redis_url(const RedisUrl &url);

} // namespace llmproxy

#endif
