#ifndef LLM_PROXY_DAEMON_LISTENER_H
#define LLM_PROXY_DAEMON_LISTENER_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/base/fd.h"
#include "llm_proxy/config/settings.h"

#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

struct sockaddr;

namespace llmproxy
{

// How many connections the kernel takes before we do.
constexpr int kBacklog = 1024;

// A bound, listening socket. Shared by the workers, owned by the supervisor.
struct Listener {
    Fd fd;
    std::string address; // as LISTEN has it; empty = bound by somebody else
    std::string name;    // address with the port that was really given
    std::string unix_path;
    uint64_t unix_inode = 0; // so that only our own file is removed
    bool lent = false;       // by a process that still serves: no file is ours
};

struct ListenError : Error {
    int code = 0; // errno's; 0 = none
};

// What to exit with.
int exit_code(const ListenError &err);

// Opens the sockets of one address. Of a host name's several, those that this
// machine does not have are left out while there is another. A stale unix
// socket is removed only if nobody answers on it.
[[nodiscard]] bool open_listener(const ListenAddress &address,
                                 std::vector<Listener> &out, ListenError &err);

// What another process has bound.
Listener inherited_listener(Fd fd);

// Of a unix socket's file; 0 = there is none.
uint64_t inode_of(const std::string &path);

// Removes a unix socket's file, if it is still this listener's.
void remove_file(const Listener &listener);

// Makes a unix socket's file another user's, who may connect like its owner.
void give_file(const Listener &listener, uid_t uid, gid_t gid);

// "127.0.0.1:5432", "[::1]:5432" or "unix" for a peer's address.
std::string peer_name(const sockaddr *address);

} // namespace llmproxy

#endif
