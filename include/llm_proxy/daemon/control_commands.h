#ifndef LLM_PROXY_DAEMON_CONTROL_COMMANDS_H
#define LLM_PROXY_DAEMON_CONTROL_COMMANDS_H

#include "llm_proxy/base/error.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// What llm-proxyctl and the daemon's control socket both know: the words that
// may be said, and how long a line may be.
namespace llmproxy
{

enum class ControlCommand {
    Status,
    Top,
    Tokens,
    Backends,
    Reload,
    Drain,
    LogLevel,
    LimiterReset,
    Config,
};

struct ControlCommandRow {
    ControlCommand command;
    const char *name;      // one word or two
    const char *arguments; // for the reader; empty = none
    size_t least;          // arguments
    size_t most;
    const char *help;
};
// In the order of ControlCommand.
extern const std::vector<ControlCommandRow> kControlCommands;

// A request line, its end included.
constexpr size_t kMaxControlLine = 1024;

struct ControlRequest {
    const ControlCommandRow *row = nullptr;
    std::vector<std::string> arguments;
};
// False for words that are no command, or too few or too many; the message
// says which command they are near to.
[[nodiscard]] bool parse_control(const std::vector<std::string_view> &words,
                                 ControlRequest &out, Error &err);

} // namespace llmproxy

#endif
