#ifndef LLM_PROXY_SRC_DAEMON_INHERITED_H
#define LLM_PROXY_SRC_DAEMON_INHERITED_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/base/fd.h"
#include "llm_proxy/config/settings.h"

#include <string>
#include <vector>

namespace llmproxy
{

// A socket that somebody else has bound.
struct InheritedSocket {
    Fd fd;
    std::string name; // says what it is for; empty = nothing said
};

// Those of sd_listen_fds(3): LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; none
// where they are another process'. False if there is a descriptor that is not
// a listening stream socket.
[[nodiscard]] bool take_inherited(const Environment &environment,
                                  std::vector<InheritedSocket> &out,
                                  Error &err);

} // namespace llmproxy

#endif
