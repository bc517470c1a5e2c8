// The access log: one line an exchange, gathered per worker, written whole.
#include "llm_proxy/proxy/access_log.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/writer.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

constexpr size_t kFlushAt = size_t{16} * 1024;
constexpr int64_t kFlushMs = 100;

void append_time(std::string &out, int64_t wall_ms)
{
    const time_t seconds = static_cast<time_t>(wall_ms / 1000);
    tm parts;
    gmtime_r(&seconds, &parts);
    char text[80];
    (void)snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                   parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                   parts.tm_hour, parts.tm_min, parts.tm_sec,
                   static_cast<int>(wall_ms % 1000));
    out += text;
}

// Writes "name=value" or "name":value behind what is there already.
class LineWriter
{
public:
    LineWriter(std::string &out, LogFormat format)
        : out_(out), json_(format == LogFormat::Json)
    {
    }

    void text(const char *name, std::string_view value, bool quote = false)
    {
        key(name);
        if (value.empty()) {
            out_ += json_ ? "null" : "-";
            return;
        }
        if (json_) {
            std::string escaped;
            append_escaped(escaped, value);
            json::append_string(out_, escaped);
            return;
        }
        if (quote) {
            out_ += '"';
        }
        append_escaped(out_, value);
        if (quote) {
            out_ += '"';
        }
    }

    void number(const char *name, int64_t value)
    {
        key(name);
        if (value < 0) {
            out_ += json_ ? "null" : "-";
        } else {
            append_u64(out_, static_cast<uint64_t>(value));
        }
    }

private:
    void key(const char *name)
    {
        if (!first_) {
            out_ += json_ ? ',' : ' ';
        }
        first_ = false;
        if (json_) {
            out_ += '"';
        }
        out_ += name;
        out_ += json_ ? "\":" : "=";
    }

    std::string &out_;
    bool json_;
    bool first_ = true;
};

} // namespace

const char *cause_name(Cause cause)
{
    switch (cause) {
    case Cause::Done:
        return "done";
    case Cause::ClientError:
        return "client_error";
    case Cause::Denied:
        return "denied";
    case Cause::ClientGone:
        return "client_gone";
    case Cause::BackendError:
        return "backend_error";
    case Cause::Timeout:
        return "timeout";
    case Cause::Overloaded:
        return "overloaded";
    case Cause::Shutdown:
        return "shutdown";
    }
    fatal("bad cause");
}

void append_access_line(std::string &out, const AccessRecord &r,
                        int64_t wall_ms, LogFormat format)
{
    if (format == LogFormat::Json) {
        out += '{';
    }
    LineWriter line(out, format);
    std::string time;
    append_time(time, wall_ms);
    line.text("ts", time);
    line.text("id", r.id);
    line.text("label", r.label);
    line.text("peer", r.peer);
    line.text("method", r.method);
    line.text("endpoint", r.endpoint);
    line.text("model", r.model, true);
    line.text("backend", r.backend);
    line.number("status", r.status);
    line.text("cause", cause_name(r.cause));
    line.number("in", static_cast<int64_t>(r.bytes_in));
    line.number("out", static_cast<int64_t>(r.bytes_out));
    line.number("queue_ms", r.queue_ms);
    line.number("connect_ms", r.connect_ms);
    line.number("first_ms", r.first_ms);
    line.number("total_ms", r.total_ms);
    line.number("pieces", static_cast<int64_t>(r.pieces));
    line.number("prompt_tokens", r.prompt_tokens);
    line.number("completion_tokens", r.completion_tokens);
    out += format == LogFormat::Json ? "}\n" : "\n";
}

bool AccessLog::open(const std::string &path, Error &err)
{
    Fd fd;
    if (path == "-" || path == "stderr") {
        fd.reset(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
    } else if (!path.empty()) {
        fd.reset(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
                        0640));
    }
    if (!fd.valid() && !path.empty()) {
        err.message = path + ": " + strerror(errno);
        return false;
    }
    const std::lock_guard<std::mutex> guard(lock_);
    fd_ = std::move(fd);
    enabled_.store(fd_.valid(), std::memory_order_relaxed);
    return true;
}

void AccessLog::write_lines(std::string_view lines)
{
    const std::lock_guard<std::mutex> guard(lock_);
    if (fd_.valid() && write(fd_.get(), lines.data(), lines.size()) !=
                           static_cast<ssize_t>(lines.size())) {
        dropped_.fetch_add(1, std::memory_order_relaxed);
    }
}

void AccessLogBuffer::add(const AccessRecord &record, int64_t wall_ms,
                          LogFormat format)
{
    append_access_line(lines_, record, wall_ms, format);
    if (lines_.size() >= kFlushAt) {
        flush();
    } else if (!timer_.armed()) {
        timer_.arm(kFlushMs);
    }
}

void AccessLogBuffer::flush()
{
    timer_.cancel();
    if (!lines_.empty()) {
        log_.write_lines(lines_);
        lines_.clear();
    }
}

void AccessLogBuffer::on_timer(Timer &)
{
    flush();
}

} // namespace llmproxy
