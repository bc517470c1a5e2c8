#ifndef LLM_PROXY_SRC_ADAPT_DROPPED_PARAMS_H
#define LLM_PROXY_SRC_ADAPT_DROPPED_PARAMS_H

#include <string>
#include <string_view>
#include <vector>

struct json_t;

namespace llmproxy
{

// True if a client should hear that this member had no effect: it said more
// than its absence does, and its name can stand in a header.
bool worth_listing(std::string_view name, const json_t *value);
// The value of X-Proxy-Dropped-Params: at most 16 names, then "...".
std::string dropped_list(const std::vector<std::string> &names);

} // namespace llmproxy

#endif
