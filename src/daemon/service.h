#ifndef LLM_PROXY_SRC_DAEMON_SERVICE_H
#define LLM_PROXY_SRC_DAEMON_SERVICE_H

#include "llm_proxy/config/settings.h"
#include "llm_proxy/loop/event_loop.h"

#include <atomic>
#include <cstdint>
#include <string>

#include <sys/types.h>

#include "crew.h"
#include "notify.h"

namespace llmproxy
{

// What the service manager hears of the process: its state, while it drains
// that it still does, and, where it wants a watchdog fed, that the loop of
// every worker turns. The main thread's.
class Service final : private TimerHandler
{
public:
    // The loop, the crew and the count outlive it.
    Service(EventLoop &loop, Crew &crew,
            const std::atomic<uint64_t> &connections,
            const Environment &environment);
    ~Service() = default;
    Service(const Service &) = delete;
    Service &operator=(const Service &) = delete;

    // It serves (again). `state` is one word or a few, for people.
    void ready(const std::string &state);
    void reloading();
    void stopping(const std::string &state);
    // The main process is that one now; this one says nothing more.
    void hand_over(pid_t successor);

private:
    void on_timer(Timer &timer) override;
    void feed_watchdog();
    void ask_workers();
    std::string status() const;

    Crew &crew_;
    const std::atomic<uint64_t> &connections_;
    Notify notify_;
    std::string state_;
    Timer stop_timer_;
    Timer watchdog_timer_;
    int64_t watchdog_ms_ = 0; // between two looks; 0 = not wanted
    bool answered_ = false;   // by all workers, since the last WATCHDOG=1
    bool stuck_ = false;      // has been said
};

} // namespace llmproxy

#endif
