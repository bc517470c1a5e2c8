#ifndef LLM_PROXY_SRC_DAEMON_INHERITED_H
#define LLM_PROXY_SRC_DAEMON_INHERITED_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/base/fd.h"
#include "llm_proxy/config/settings.h"

#include <string>
#include <vector>

namespace llmproxy
{

// A descriptor that the process was started with.
struct InheritedSocket {
    Fd fd;
    std::string name; // says what it is for; empty = nothing said
};

// One to be given to another process; it stays whose it is.
struct PassedSocket {
    int fd;
    std::string name;
};

// What only an earlier process of the same daemon passes on. A listening
// socket of its own has the address as LISTEN has it, percent-encoded, behind
// the prefix.
constexpr const char *kPassedChannel = "=channel";
constexpr const char *kPassedLimits = "=limits";
constexpr const char *kPassedStderr = "=stderr";
constexpr const char *kPassedPidFile = "=pid-file";
constexpr const char *kPassedListener = "=listen ";

// Those of sd_listen_fds(3): LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; none
// where they are another process'. From an earlier process of the daemon,
// which cannot know our process id, LLM_PROXYD_PARENT has its own. False: what
// these variables say cannot be.
[[nodiscard]] bool take_inherited(const Environment &environment,
                                  std::vector<InheritedSocket> &out,
                                  Error &err);
// Says in the environment of another process what it is given.
void pass_on(const std::vector<PassedSocket> &sockets,
             Environment &environment);
// The descriptor of that name, or none.
Fd take_named(std::vector<InheritedSocket> &sockets, const char *name);
// Without ':', which is between names.
std::string escape_name(const std::string &text);
// A stream socket that listens.
bool is_listening(int fd);

} // namespace llmproxy

#endif
