// Threads of the process.
#include "thread.h"

#include <csignal>
#include <cstring>
#include <utility>

namespace llmproxy
{

namespace
{

// JSON of the greatest depth is read and written by recursion. The kernel
// backs what is used only; musl gives a thread 128 KiB by itself.
constexpr size_t kStack = size_t{8} << 20;

} // namespace

bool Thread::start(std::function<void()> work, Error &err)
{
    work_ = std::move(work);
    pthread_attr_t attributes;
    int code = pthread_attr_init(&attributes);
    if (code == 0) {
        code = pthread_attr_setstacksize(&attributes, kStack);
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (code == 0) {
            code = pthread_create(&id_, &attributes, run_cb, this);
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        pthread_attr_destroy(&attributes);
    }
    started_ = code == 0;
    if (!started_) {
        err.message = std::string("cannot start a thread: ") + strerror(code);
    }
    return started_;
}

void Thread::join()
{
    if (started_) {
        pthread_join(id_, nullptr);
        started_ = false;
    }
}

void *Thread::run_cb(void *arg) noexcept
{
    static_cast<Thread *>(arg)->work_();
    return nullptr;
}

} // namespace llmproxy
