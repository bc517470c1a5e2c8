// The thread beside a worker's loop that long jobs run on.
#include "helper_thread.h"

#include <algorithm>

namespace llmproxy
{

void HelperThread::run(LongJob &job)
{
    {
        const std::lock_guard<std::mutex> guard(lock_);
        jobs_.push_back(&job);
    }
    if (!thread_.joinable()) {
        // It inherits the worker's signal mask: every signal blocked.
        thread_ = std::thread([this] { work(); });
    }
    wake_.notify_one();
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
    if (thread_.joinable()) {
        thread_.join();
    }
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
