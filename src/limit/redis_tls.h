#ifndef LLM_PROXY_SRC_LIMIT_REDIS_TLS_H
#define LLM_PROXY_SRC_LIMIT_REDIS_TLS_H

#include "llm_proxy/base/error.h"

#include <string>

struct redisContext;

namespace llmproxy
{

// Speaks TLS on a connection that has just been begun; the server must prove
// that it is `host`. `ca_file` empty: by the system's certificates. Always
// false in a build without TLS, where no configuration asks for it.
[[nodiscard]] bool begin_redis_tls(redisContext &context,
                                   const std::string &host,
                                   const std::string &ca_file, Error &err);

} // namespace llmproxy

#endif
