#ifndef LLM_PROXY_SRC_DAEMON_THREAD_H
#define LLM_PROXY_SRC_DAEMON_THREAD_H

#include "llm_proxy/base/error.h"

#include <functional>

#include <pthread.h>

namespace llmproxy
{

// A thread with a stated stack, which a refusal of the system does not end the
// process with, as std::thread's exception would. All signals are blocked in
// it: they are the main thread's.
class Thread
{
public:
    Thread() = default;
    ~Thread() { join(); }
    Thread(const Thread &) = delete;
    Thread &operator=(const Thread &) = delete;

    // Begins `work` on a thread of its own; once.
    [[nodiscard]] bool start(std::function<void()> work, Error &err);
    // Waits for its end, if it was started.
    void join();
    // Begins `work` on a thread that nobody waits for.
    [[nodiscard]] static bool launch(std::function<void()> work, Error &err);

private:
    static void *run_cb(void *arg) noexcept;
    static void *run_launched_cb(void *arg) noexcept;
    static bool create(pthread_t &id, bool detached, void *(*run)(void *),
                       void *arg, Error &err);

    std::function<void()> work_;
    pthread_t id_{};
    bool started_ = false;
};

} // namespace llmproxy

#endif
