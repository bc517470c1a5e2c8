// The thread beside a worker's loop that long jobs run on.
#include "helper_thread.h"

#include "llm_proxy/base/log.h"

#include <algorithm>
#include <utility>

namespace llmproxy
{

void HelperThread::run(LongJob &job)
{
    if (!has_thread()) {
        job.work();
        LongJob *done = &job;
        loop_.post([done] { done->on_worked(); });
        return;
    }
    {
        const std::lock_guard<std::mutex> guard(lock_);
        jobs_.push_back(&job);
    }
    wake_.notify_one();
}

bool HelperThread::has_thread()
{
    if (thread_ != nullptr) {
        return true;
    }
    std::unique_ptr<Thread> thread = std::make_unique<Thread>();
    Error err;
    if (thread->start([this] { work(); }, err)) {
        thread_ = std::move(thread);
    } else if (!complained_) {
        complained_ = true;
        log_warning("helper: %s; large bodies hold their worker up",
                    err.message.c_str());
    }
    return thread_ != nullptr;
}

bool HelperThread::withdraw(LongJob &job)
{
    const std::lock_guard<std::mutex> guard(lock_);
    const std::deque<LongJob *>::iterator found =
        std::find(jobs_.begin(), jobs_.end(), &job);
    if (found != jobs_.end()) {
        jobs_.erase(found);
        return true;
    }
    return ended_;
}

void HelperThread::end()
{
    {
        const std::lock_guard<std::mutex> guard(lock_);
        ending_ = true;
    }
    wake_.notify_one();
    thread_.reset(); // waits for it
    ended_ = true;
}

void HelperThread::work()
{
    std::unique_lock<std::mutex> guard(lock_);
    for (;;) {
        wake_.wait(guard, [this] { return ending_ || !jobs_.empty(); });
        if (ending_) {
            return;
        }
        LongJob *job = jobs_.front();
        jobs_.pop_front();
        guard.unlock();
        job->work();
        loop_.post([job] { job->on_worked(); });
        guard.lock();
    }
}

} // namespace llmproxy
