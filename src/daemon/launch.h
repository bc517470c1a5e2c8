#ifndef LLM_PROXY_SRC_DAEMON_LAUNCH_H
#define LLM_PROXY_SRC_DAEMON_LAUNCH_H

#include "llm_proxy/config/settings.h"

#include <string>
#include <vector>

#include "daemonise.h"
#include "inherited.h"
#include "pidfile.h"

namespace llmproxy
{

// How the process was started, and what ties it to who started it. main()
// fills it; it outlives the supervisor.
struct Launch {
    std::string config_path; // empty = none
    Environment environment; // as it was at the start
    std::vector<InheritedSocket> sockets;
    PidFile pid_file;
    Background background;
};

} // namespace llmproxy

#endif
