#ifndef LLM_PROXY_TESTS_BENCH_WIRE_H
#define LLM_PROXY_TESTS_BENCH_WIRE_H

#include <cstdint>
#include <string>
#include <string_view>

#include <sys/epoll.h>

// What the two ends of the benchmark have in common.
namespace llmproxy
{

// Both ends are tools: whatever is not as expected ends them with a sentence
// on stderr and status 1, so that no wrong number is ever printed.
[[noreturn]] void die(const std::string &message);
// Adds what errno says.
[[noreturn]] void die_errno(const std::string &what);

// Prints a line, at once.
void say(const std::string &line);

int64_t now_ns();

// The value of a field of `head` (start line included), trimmed; empty when
// absent.
std::string_view header_value(std::string_view head, std::string_view name);

// Content-Length of `head`; `absent` where there is none.
uint64_t content_length(std::string_view head, uint64_t absent);

// The number that an option was given, within its bounds.
uint64_t option_number(const char *option, const char *text, uint64_t least,
                       uint64_t most);

// epoll_wait(), without sleeping if `awake`: who sends to a process that sleeps
// pays for waking it, so a proxy that keeps its peers less busy than another
// would seem dearer for that. Others have the core while nothing happens.
int wait_for_events(int epoll, epoll_event *events, int most, int timeout_ms,
                    bool awake);

// Registers `fd` with the epoll instance, or changes what is waited for.
void watch(int epoll, int operation, int fd, uint32_t events);

} // namespace llmproxy

#endif
