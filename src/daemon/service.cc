// The service manager's view of the process, and its watchdog.
#include "service.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <ctime>

#include <unistd.h>

#include "environment.h"

namespace llmproxy
{

namespace
{

// How often it hears that a drain goes on, and for how long that is good.
constexpr int64_t kStoppingMs = 1000;
constexpr uint64_t kExtendUs = 10'000'000;

std::string field(const char *name, uint64_t value)
{
    std::string line(name);
    line += '=';
    append_u64(line, value);
    line += '\n';
    return line;
}

uint64_t monotonic_us()
{
    timespec now = {};
    clock_gettime(CLOCK_MONOTONIC, &now); // systemd's, never the injected one
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000 +
           static_cast<uint64_t>(now.tv_nsec) / 1000;
}

} // namespace

Service::Service(EventLoop &loop, Crew &crew,
                 const std::atomic<uint64_t> &connections,
                 const Environment &environment)
    : crew_(crew), connections_(connections), notify_(environment),
      stop_timer_(loop, *this), watchdog_timer_(loop, *this)
{
    const uint64_t pid = number_in(environment, "WATCHDOG_PID");
    const uint64_t timeout_us = number_in(environment, "WATCHDOG_USEC");
    if (notify_.wanted() && timeout_us > 0 &&
        (pid == 0 || pid == static_cast<uint64_t>(getpid()))) {
        watchdog_ms_ = static_cast<int64_t>(
            std::clamp<uint64_t>(timeout_us / 2000, 1, INT64_MAX / 2));
    }
}

std::string Service::status() const
{
    std::string line = "STATUS=" + state_ + ", ";
    append_u64(line, connections_.load());
    line += " clients\n";
    return line;
}

void Service::ready(const std::string &state)
{
    state_ = state;
    notify_.send("READY=1\n" +
                 field("MAINPID", static_cast<uint64_t>(getpid())) + status());
    if (watchdog_ms_ > 0 && !watchdog_timer_.armed()) {
        ask_workers();
        watchdog_timer_.arm(watchdog_ms_);
    }
}

void Service::reloading()
{
    notify_.send("RELOADING=1\n" + field("MONOTONIC_USEC", monotonic_us()));
}

void Service::stopping(const std::string &state)
{
    state_ = state;
    notify_.send("STOPPING=1\n" + status() +
                 field("EXTEND_TIMEOUT_USEC", kExtendUs));
    if (notify_.wanted()) {
        stop_timer_.arm(kStoppingMs);
    }
}

void Service::hand_over(pid_t successor)
{
    notify_.send(field("MAINPID", static_cast<uint64_t>(successor)));
    notify_.silence();
    stop_timer_.cancel();
    watchdog_timer_.cancel();
}

void Service::on_timer(Timer &timer)
{
    if (&timer == &stop_timer_) {
        notify_.send(status() + field("EXTEND_TIMEOUT_USEC", kExtendUs));
        stop_timer_.arm(kStoppingMs);
    } else {
        feed_watchdog();
        watchdog_timer_.arm(watchdog_ms_);
    }
}

void Service::feed_watchdog()
{
    if (answered_) {
        stuck_ = false;
        notify_.send("WATCHDOG=1\n" + status());
        ask_workers();
    } else if (!stuck_) {
        stuck_ = true;
        log_error("a worker does not turn: the watchdog is not fed");
    }
}

void Service::ask_workers()
{
    answered_ = false;
    crew_.ping([this] { answered_ = true; });
}

} // namespace llmproxy
