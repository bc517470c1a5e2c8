// Where the settings are, which the build decides.
#include "llm_proxy/daemon/conventions.h"

namespace llmproxy
{

const char *const kDefaultConfig =
    LLMPROXY_SYSCONFDIR "/llm-proxy/llm-proxy.conf";

} // namespace llmproxy
