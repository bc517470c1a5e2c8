#ifndef LLM_PROXY_DAEMON_STATE_FILE_H
#define LLM_PROXY_DAEMON_STATE_FILE_H

#include "llm_proxy/limit/memory_limiter.h"

#include <string>

namespace llmproxy
{

// Both block, and log what goes wrong.

// Goes on from the counters in `path`. A damaged file is renamed to
// `path`.damaged, and counting begins anew. False if there is a file that
// cannot be looked into.
[[nodiscard]] bool load_state(const std::string &path, MemoryLimitTable &table);
void save_state(const std::string &path, MemoryLimitTable &table);

} // namespace llmproxy

#endif
