#ifndef LLM_PROXY_SRC_DAEMON_HELPER_THREAD_H
#define LLM_PROXY_SRC_DAEMON_HELPER_THREAD_H

#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/loop/helper.h"

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "thread.h"

namespace llmproxy
{

// A worker's helper: one thread, begun with the first job, so that a worker
// which never sees a large body has none. Where the system refuses the thread,
// the loop is held up and does the job itself.
class HelperThread final : public Helper
{
public:
    // The loop outlives the helper.
    explicit HelperThread(EventLoop &loop) : loop_(loop) {}
    ~HelperThread() override { end(); }
    HelperThread(const HelperThread &) = delete;
    HelperThread &operator=(const HelperThread &) = delete;

    void run(LongJob &job) override;
    bool withdraw(LongJob &job) override;
    // Waits for the job at work and begins no other. The loop has ended.
    void end();

private:
    bool has_thread();
    void work();

    EventLoop &loop_;
    std::mutex lock_; // guards jobs_ and ending_
    std::condition_variable wake_;
    std::deque<LongJob *> jobs_;
    bool ending_ = false;
    bool ended_ = false; // the loop's thread alone sets and reads it
    std::unique_ptr<Thread> thread_;
    bool complained_ = false; // that there is no thread
};

} // namespace llmproxy

#endif
