#ifndef LLM_PROXY_SRC_DAEMON_DAEMONISE_H
#define LLM_PROXY_SRC_DAEMON_DAEMONISE_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/base/fd.h"

namespace llmproxy
{

// The way into the background. Who started the daemon waits until it serves
// or has said why it does not, and gets its exit code.
class Background
{
public:
    // Before any thread, any event loop and any lock. Returns in the child
    // only, which leads a session of its own and still has the terminal to
    // write to. False: no child.
    [[nodiscard]] bool enter(Error &err);
    // The daemon serves: lets its starter go, and the terminal.
    void detach();

private:
    Fd starter_; // a pipe to it
};

// Messages go there from now on.
void use_error_output(Fd fd);

// A descriptor 0, 1 or 2 that is closed would be taken by the next socket,
// and messages would go there.
void open_standard_fds();

} // namespace llmproxy

#endif
