#ifndef LLM_PROXY_SRC_CONFIG_QUOTED_H
#define LLM_PROXY_SRC_CONFIG_QUOTED_H

#include "llm_proxy/base/log.h"

#include <string>
#include <string_view>

namespace llmproxy
{

// A value that is no secret, as messages show it.
inline std::string quoted(std::string_view value)
{
    std::string out = "\"";
    append_escaped(out, value, 80);
    return out + '"';
}

} // namespace llmproxy

#endif
