#ifndef LLM_PROXY_LIMIT_DAY_COUNTERS_H
#define LLM_PROXY_LIMIT_DAY_COUNTERS_H

#include "llm_proxy/base/digest.h"
#include "llm_proxy/base/error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy
{

// What a token has used of a day.
struct DayCounter {
    Sha256 digest{}; // of the token
    int64_t day = 0; // since 1970, UTC
    uint64_t used = 0;
};

// The state file: a line that names the format, one for each counter, and the
// SHA-256 of all that, so that a file that was cut or edited is noticed.
std::string format_day_counters(const std::vector<DayCounter> &counters);
// False with the line and what is wrong with it; `out` is left alone then.
[[nodiscard]] bool parse_day_counters(std::string_view text,
                                      std::vector<DayCounter> &out, Error &err);

} // namespace llmproxy

#endif
