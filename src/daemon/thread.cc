// Threads of the process.
#include "thread.h"

#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "last_words.h"

namespace llmproxy
{

namespace
{

// JSON of the greatest depth is read and written by recursion. The kernel
// backs what is used only; musl gives a thread 128 KiB by itself.
constexpr size_t kStack = size_t{8} << 20;

} // namespace

bool Thread::create(pthread_t &id, bool detached, void *(*run)(void *),
                    void *arg, Error &err)
{
    pthread_attr_t attributes;
    int code = pthread_attr_init(&attributes);
    if (code == 0) {
        code = pthread_attr_setstacksize(&attributes, kStack);
        if (code == 0 && detached) {
            code = pthread_attr_setdetachstate(&attributes,
                                               PTHREAD_CREATE_DETACHED);
        }
        // All but those of a crash, whose last words a thread says itself.
        sigset_t most;
        sigset_t before;
        sigfillset(&most);
        for (const int signal : kCrashSignals) {
            sigdelset(&most, signal);
        }
        pthread_sigmask(SIG_SETMASK, &most, &before);
        if (code == 0) {
            code = pthread_create(&id, &attributes, run, arg);
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        pthread_attr_destroy(&attributes);
    }
    if (code != 0) {
        err.message = std::string("cannot start a thread: ") + strerror(code);
    }
    return code == 0;
}

bool Thread::start(std::function<void()> work, Error &err)
{
    work_ = std::move(work);
    started_ = create(id_, false, run_cb, this, err);
    return started_;
}

bool Thread::launch(std::function<void()> work, Error &err)
{
    std::unique_ptr<std::function<void()>> given =
        std::make_unique<std::function<void()>>(std::move(work));
    pthread_t id{};
    std::function<void()> *const taken = given.release();
    if (!create(id, true, run_launched_cb, taken, err)) {
        given.reset(taken);
        return false;
    }
    return true;
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

void *Thread::run_launched_cb(void *arg) noexcept
{
    const std::unique_ptr<std::function<void()>> work(
        static_cast<std::function<void()> *>(arg));
    (*work)();
    return nullptr;
}

} // namespace llmproxy
