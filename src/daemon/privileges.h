#ifndef LLM_PROXY_SRC_DAEMON_PRIVILEGES_H
#define LLM_PROXY_SRC_DAEMON_PRIVILEGES_H

#include "llm_proxy/base/error.h"

#include <string>

#include <sys/types.h>

namespace llmproxy
{

// Who the process is to be once it listens.
struct Identity {
    bool wanted = false; // false: stays who it is
    std::string user;    // of the system's list of users; empty = none there
    uid_t uid = 0;
    gid_t gid = 0;
};

// Names or numbers, as -u and -g have them; empty = not given. False: the
// system knows no such user or group, or it is root.
[[nodiscard]] bool find_identity(const std::string &user,
                                 const std::string &group, Identity &out,
                                 Error &err);
// The process is that one now?
bool has_identity(const Identity &identity);
// Becomes that one for good, before any thread exists. False: it must not
// serve.
[[nodiscard]] bool drop_privileges(const Identity &identity, Error &err);

} // namespace llmproxy

#endif
