#ifndef LLM_PROXY_SRC_DAEMON_NAME_RESOLVER_H
#define LLM_PROXY_SRC_DAEMON_NAME_RESOLVER_H

#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/loop/resolver.h"

#include <memory>
#include <string>

namespace llmproxy
{

// Asks the system, on a thread for each question. Nobody waits for such a
// thread, not even the end of the process: a name server that is down would
// hold it up for half a minute.
class NameResolver final : public Resolver
{
public:
    // The loop outlives the resolver.
    explicit NameResolver(EventLoop &loop) : loop_(loop) {}
    ~NameResolver() override { abandon(); }
    NameResolver(const NameResolver &) = delete;
    NameResolver &operator=(const NameResolver &) = delete;

    void look_up(const std::string &host, ResolverClient &client) override;
    void forget(ResolverClient &client) override;

private:
    struct Question;

    void abandon();

    EventLoop &loop_;
    std::shared_ptr<Question> asked_; // until it is answered
};

} // namespace llmproxy

#endif
