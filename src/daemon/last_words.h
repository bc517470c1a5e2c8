#ifndef LLM_PROXY_DAEMON_LAST_WORDS_H
#define LLM_PROXY_DAEMON_LAST_WORDS_H

#include <csignal>

namespace llmproxy
{

constexpr int kCrashSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// From now on a process that runs out of memory or crashes says so in its log
// (on standard error where that is no file), with the frames that led there
// where the C library can tell them, and dies of the same signal. Before any
// thread starts.
void install_last_words();

// A process that has not ended in so many seconds, for a thread of it is
// stuck, says so and ends with kExitSoftware.
void end_by_force_after(unsigned seconds);

} // namespace llmproxy

#endif
