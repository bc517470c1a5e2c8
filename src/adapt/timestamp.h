#ifndef LLM_PROXY_SRC_ADAPT_TIMESTAMP_H
#define LLM_PROXY_SRC_ADAPT_TIMESTAMP_H

#include <cstdint>
#include <string_view>

namespace llmproxy
{

// RFC 3339 as Go prints it: "2026-09-01T08:30:00[.fraction](Z|+hh:mm|-hh:mm)",
// to Unix seconds. `otherwise` for anything else, and for times before 1970
// (Go's zero time is the year 1).
int64_t unix_seconds(std::string_view text, int64_t otherwise);

} // namespace llmproxy

#endif
