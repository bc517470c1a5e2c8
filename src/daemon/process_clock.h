#ifndef LLM_PROXY_DAEMON_PROCESS_CLOCK_H
#define LLM_PROXY_DAEMON_PROCESS_CLOCK_H

#include "llm_proxy/base/clock.h"

namespace llmproxy
{

// The clock that limits and expiry dates go by. The installed daemon links
// the kernel's; llm-proxyd-test one that tests can move.
const Clock &process_clock();
// Workers take the time of their loops' turns and say the longest at their
// end. Never in the installed daemon.
bool measures_turns();

} // namespace llmproxy

#endif
