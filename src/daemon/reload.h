#ifndef LLM_PROXY_DAEMON_RELOAD_H
#define LLM_PROXY_DAEMON_RELOAD_H

#include "llm_proxy/base/log_target.h"
#include "llm_proxy/config/changes.h"
#include "llm_proxy/config/settings.h"

#include <cstddef>
#include <string>
#include <vector>

#include "launch.h"
#include "listeners.h"

namespace llmproxy
{

// What became of a reload, for the log and for who asked for it.
struct ReloadResult {
    int code = 0;                    // an exit code; 0 = the new settings hold
    std::vector<std::string> errors; // "file:line: message"
    ConfigChanges changes;
    size_t tokens = 0;
};

// Reads everything anew, opens the logs there and the listeners that are new,
// all that can fail of a reload; the error log goes to the new place when this
// returns true. False: `result` says why, and nothing has changed.
[[nodiscard]] bool read_anew(const Launch &launch, Listeners &listeners,
                             Config &wanted, LogTarget &access_log,
                             ReloadResult &result);
// Into the error log.
void log_reload(const ReloadResult &result);

} // namespace llmproxy

#endif
