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
    std::string program; // to start again
    std::vector<std::string> arguments;
    std::string config_path; // empty = none
    Environment environment; // as it was at the start
    std::vector<InheritedSocket> sockets;
    // From the process whose place this one is to take, or none.
    Fd channel;
    Fd limits;
    Fd error_output; // what standard error will be
    Fd pid_fd;
    std::string pid_path; // empty = none
    PidFile pid_file;
    Background background;
};

} // namespace llmproxy

#endif
