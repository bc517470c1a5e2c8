#ifndef LLM_PROXY_PROXY_ACCESS_LOG_H
#define LLM_PROXY_PROXY_ACCESS_LOG_H

#include "llm_proxy/base/log.h"
#include "llm_proxy/loop/event_loop.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace llmproxy
{

// Why an exchange ended; the word in the access log.
enum class Cause {
    Done,         // answered whole
    ClientError,  // refused for what the client sent (4xx of ours)
    Denied,       // no or wrong token, or over a limit
    ClientGone,   // the client left first
    BackendError, // the backend failed, before or in the middle of an answer
    Timeout,      // a deadline passed, of the client's or the backend's
    Overloaded,   // we refused for want of room
    Redirected,   // nginx was sent to the backend
    Shutdown,     // cut by the end of the drain
};
constexpr size_t kCauses = static_cast<size_t>(Cause::Shutdown) + 1;
const char *cause_name(Cause cause);

// One line of the access log. -1 and empty are written as "-".
struct AccessRecord {
    std::string_view id;
    std::string_view label;
    std::string_view peer;
    std::string_view method;
    std::string_view endpoint;
    std::string_view model;
    std::string_view backend;
    int status = 0;
    Cause cause = Cause::Done;
    uint64_t bytes_in = 0;
    uint64_t bytes_out = 0;
    int64_t limit_ms = -1;
    int64_t queue_ms = -1;
    int64_t connect_ms = -1;
    int64_t first_ms = -1;
    int64_t total_ms = -1;
    uint64_t pieces = 0;
    int64_t prompt_tokens = -1;
    int64_t completion_tokens = -1;
    bool resent = false; // the request went out twice
};

// Appends the record as one line: logfmt or JSON. All text is escaped.
void append_access_line(std::string &out, const AccessRecord &record,
                        int64_t wall_ms, LogFormat format);

// The access log, shared by all workers. Any thread.
class AccessLog
{
public:
    // Lines go there from now on; nowhere if it is not valid.
    void use(LogTarget target);
    bool enabled() const { return enabled_.load(std::memory_order_relaxed); }
    // Whole lines. What is not taken at once is dropped, and counted.
    void write_lines(std::string_view lines);
    // Lines dropped since the last call.
    size_t take_lost() { return lost_.exchange(0); }

private:
    std::mutex lock_; // guards target_
    LogTarget target_;
    std::atomic<bool> enabled_{false};
    std::atomic<size_t> lost_{0};
};

// A worker's lines on their way there: written when 16 KiB have gathered or
// 100 ms after the first.
class AccessLogBuffer final : private TimerHandler
{
public:
    AccessLogBuffer(EventLoop &loop, AccessLog &log)
        : log_(log), timer_(loop, *this)
    {
    }
    ~AccessLogBuffer() { flush(); }
    AccessLogBuffer(const AccessLogBuffer &) = delete;
    AccessLogBuffer &operator=(const AccessLogBuffer &) = delete;

    bool enabled() const { return log_.enabled(); }
    void add(const AccessRecord &record, int64_t wall_ms, LogFormat format);
    void flush();

private:
    void on_timer(Timer &timer) override;

    AccessLog &log_;
    Timer timer_;
    std::string lines_;
};

} // namespace llmproxy

#endif
