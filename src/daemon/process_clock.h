#ifndef LLM_PROXY_DAEMON_PROCESS_CLOCK_H
#define LLM_PROXY_DAEMON_PROCESS_CLOCK_H

#include "llm_proxy/base/clock.h"

namespace llmproxy
{

// The clock that limits and expiry dates go by. The installed daemon links
// the kernel's; llm-proxyd-test one that tests can move.
const Clock &process_clock();

} // namespace llmproxy

#endif
