#ifndef LLM_PROXY_SRC_DAEMON_NOTIFY_H
#define LLM_PROXY_SRC_DAEMON_NOTIFY_H

#include "llm_proxy/config/settings.h"

#include <string>
#include <string_view>

namespace llmproxy
{

// sd_notify(3): lines of NAME=value to the service manager, one datagram a
// call. Does nothing where none has asked for them.
class Notify
{
public:
    Notify() = default;
    // NOTIFY_SOCKET: a path, or @name in the abstract space.
    explicit Notify(const Environment &environment);

    bool wanted() const { return !address_.empty(); }
    // Waits for a second at most; what fails is in the log.
    void send(std::string_view lines) const;
    // From now on another process speaks for the service.
    void silence() { address_.clear(); }

private:
    std::string address_; // a leading NUL is the abstract space
};

} // namespace llmproxy

#endif
