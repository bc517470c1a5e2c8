// The small common part of the benchmark's two ends: looking up a header
// field, numbers of options, the clock, waiting. It trusts its input more than
// the daemon's own parser does, since both ends are ours.

#include "wire.h"

#include "llm_proxy/base/strings.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <sched.h>
#include <sys/epoll.h>

namespace llmproxy
{

void die(const std::string &message)
{
    static_cast<void>(fprintf(stderr, "%s\n", message.c_str()));
    exit(1);
}

void die_errno(const std::string &what)
{
    die(what + ": " + strerror(errno));
}

void say(const std::string &line)
{
    if (puts(line.c_str()) == EOF || fflush(stdout) == EOF) {
        die_errno("stdout");
    }
}

int64_t now_ns()
{
    timespec now = {};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
}

std::string_view header_value(std::string_view head, std::string_view name)
{
    size_t end = head.find('\n');
    while (end != std::string_view::npos) {
        std::string_view line = head.substr(end + 1);
        end = line.find('\n');
        head = line;
        line = line.substr(0, end);
        if (line.size() > name.size() && line[name.size()] == ':' &&
            iequals(line.substr(0, name.size()), name)) {
            line.remove_prefix(name.size() + 1);
            if (ends_with(line, "\r")) {
                line.remove_suffix(1);
            }
            return trim(line);
        }
    }
    return {};
}

uint64_t content_length(std::string_view head, uint64_t absent)
{
    std::string_view text = header_value(head, "content-length");
    uint64_t length = absent;
    if (!text.empty() && !parse_u64(text, length)) {
        die("not a Content-Length: " + std::string(text));
    }
    return length;
}

uint64_t option_number(const char *option, const char *text, uint64_t least,
                       uint64_t most)
{
    uint64_t value = 0;
    if (!parse_u64(text, value) || value < least || value > most) {
        die(std::string("--") + option + " " + text +
            ": expected a number from " + std::to_string(least) + " to " +
            std::to_string(most));
    }
    return value;
}

int wait_for_events(int epoll, epoll_event *events, int most, int timeout_ms,
                    bool awake)
{
    const int count = epoll_wait(epoll, events, most, awake ? 0 : timeout_ms);
    if (count == 0 && awake) {
        sched_yield();
    }
    return count;
}

void watch(int epoll, int operation, int fd, uint32_t events)
{
    epoll_event event = {};
    event.events = events;
    event.data.fd = fd;
    if (epoll_ctl(epoll, operation, fd, &event) == -1) {
        die_errno("epoll_ctl");
    }
}

} // namespace llmproxy
