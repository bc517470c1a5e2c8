// What is said when nothing else can be done. All of it is safe in a signal's
// handler: no memory is taken, no lock either.
#include "last_words.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/daemon/conventions.h"

#include <csignal>
#include <cstdlib>
#include <new>
#include <string_view>

#include <unistd.h>

#if LLMPROXY_BACKTRACE
#include <execinfo.h>
#endif

namespace llmproxy
{

namespace
{

void say(std::string_view text)
{
    // Nothing is left to be done about a failure.
    (void)!write(log_descriptor(), text.data(), text.size());
}

void say_number(int number)
{
    char digits[12];
    size_t at = sizeof(digits);
    do {
        digits[--at] = static_cast<char>('0' + number % 10);
        number /= 10;
    } while (number != 0);
    say({digits + at, sizeof(digits) - at});
}

// The default action is back by then: the second time is the last.
void on_crash(int signal)
{
    say("llm-proxyd " LLMPROXY_VERSION " crashed: signal ");
    say_number(signal);
    say("\n");
#if LLMPROXY_BACKTRACE
    void *frames[64];
    backtrace_symbols_fd(frames, backtrace(frames, 64), log_descriptor());
#endif
    (void)raise(signal);
}

void on_no_memory()
{
    say("llm-proxyd: out of memory\n");
    std::abort();
}

void on_stuck(int)
{
    say("llm-proxyd: a thread does not end, giving it up\n");
    _exit(kExitSoftware);
}

} // namespace

void end_by_force_after(unsigned seconds)
{
    struct sigaction stuck = {};
    stuck.sa_handler = on_stuck;
    sigaction(SIGALRM, &stuck, nullptr);
    alarm(seconds);
}

void install_last_words()
{
    std::set_new_handler(on_no_memory);
#if LLMPROXY_BACKTRACE
    // The first call loads a library, which takes memory.
    void *frame = nullptr;
    (void)backtrace(&frame, 1);
#endif
    struct sigaction crash = {};
    crash.sa_handler = on_crash;
    crash.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
    for (const int signal : kCrashSignals) {
        sigaction(signal, &crash, nullptr);
    }
}

} // namespace llmproxy
