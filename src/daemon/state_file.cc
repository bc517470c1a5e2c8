// Day counters from one process to the next.
#include "state_file.h"

#include "llm_proxy/base/files.h"
#include "llm_proxy/base/log.h"

#include <cerrno>
#include <cstdio>
#include <vector>

namespace llmproxy
{

bool load_state(const std::string &path, MemoryLimitTable &table)
{
    std::string text;
    bool is_public = false;
    Error err;
    if (!read_file(path, text, is_public, err)) {
        if (errno == ENOENT) {
            return true; // the first start
        }
        log_error("STATE_FILE: %s: %s", path.c_str(), err.message.c_str());
        return false;
    }
    std::vector<DayCounter> counters;
    if (parse_day_counters(text, counters, err)) {
        table.restore(counters);
        return true;
    }
    const std::string aside = path + ".damaged";
    const bool moved = rename(path.c_str(), aside.c_str()) == 0;
    log_error("STATE_FILE: %s: %s; %s%s, the day's counters begin at 0",
              path.c_str(), err.message.c_str(),
              moved ? "set aside as " : "left where it is",
              moved ? aside.c_str() : "");
    return true;
}

void save_state(const std::string &path, MemoryLimitTable &table)
{
    Error err;
    if (!replace_file(path, format_day_counters(table.day_counters()), err)) {
        log_error("STATE_FILE: %s: %s", path.c_str(), err.message.c_str());
    }
}

} // namespace llmproxy
