#ifndef LLM_PROXY_SRC_DAEMON_SPAWN_H
#define LLM_PROXY_SRC_DAEMON_SPAWN_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/config/settings.h"

#include <string>
#include <vector>

#include <sys/types.h>

namespace llmproxy
{

// A program in a process of its own, without fork(2), which threads forbid:
// it begins with no signal blocked or ignored.
struct Program {
    std::string path;
    std::vector<std::string> arguments; // its name first
    Environment environment;
    std::vector<int> passed; // become 3, 4, ...
    int error_output = 2;    // becomes 2
};

// Its process id, or -1.
[[nodiscard]] pid_t spawn(const Program &program, Error &err);

} // namespace llmproxy

#endif
