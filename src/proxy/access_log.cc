// The access log: one line an exchange, gathered per worker, written whole.
#include "llm_proxy/proxy/access_log.h"

#include "llm_proxy/base/clock.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/writer.h"

#include <utility>

namespace llmproxy
{

namespace
{

constexpr size_t kFlushAt = size_t{16} * 1024;
constexpr int64_t kFlushMs = 100;

// Writes " name=value", or ,"name":value, behind what is there already. A name
// comes with what is around it in text.
class LineWriter
{
public:
    LineWriter(std::string &out, LogFormat format)
        : out_(out), json_(format == LogFormat::Json)
    {
    }

    // Nothing in it needs an escape. Empty where there is none.
    void word(std::string_view name, std::string_view value)
    {
        key(name);
        if (value.empty()) {
            out_ += json_ ? "null" : "-";
            return;
        }
        quote(json_);
        out_ += value;
        quote(json_);
    }

    // Somebody else's words.
    void text(std::string_view name, std::string_view value,
              bool quoted = false)
    {
        if (value.empty()) {
            word(name, value);
            return;
        }
        key(name);
        if (json_) {
            std::string escaped;
            append_escaped(escaped, value);
            json::append_string(out_, escaped);
            return;
        }
        quote(quoted);
        append_escaped(out_, value);
        quote(quoted);
    }

    void time(std::string_view name, int64_t wall_ms)
    {
        key(name);
        quote(json_);
        append_iso_time(out_, wall_ms);
        quote(json_);
    }

    void number(std::string_view name, int64_t value)
    {
        key(name);
        if (value < 0) {
            out_ += json_ ? "null" : "-";
        } else {
            append_u64(out_, static_cast<uint64_t>(value));
        }
    }

private:
    void quote(bool wanted)
    {
        if (wanted) {
            out_ += '"';
        }
    }

    // In one piece, as text has it; JSON is made of that.
    void key(std::string_view name)
    {
        if (!json_) {
            out_ += name;
            return;
        }
        if (name.front() == ' ') {
            out_ += ',';
            name.remove_prefix(1);
        }
        out_ += '"';
        out_ += name.substr(0, name.size() - 1);
        out_ += "\":";
    }

    std::string &out_;
    bool json_;
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
    case Cause::Redirected:
        return "redirected";
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
    line.time("ts=", wall_ms);
    line.word(" id=", r.id);
    line.text(" label=", r.label);
    line.text(" peer=", r.peer);
    line.word(" method=", r.method);
    line.word(" endpoint=", r.endpoint);
    line.text(" model=", r.model, true);
    line.word(" backend=", r.backend);
    line.number(" status=", r.status);
    line.word(" cause=", cause_name(r.cause));
    line.number(" in=", static_cast<int64_t>(r.bytes_in));
    line.number(" out=", static_cast<int64_t>(r.bytes_out));
    line.number(" limit_ms=", r.limit_ms);
    line.number(" queue_ms=", r.queue_ms);
    line.number(" connect_ms=", r.connect_ms);
    line.number(" first_ms=", r.first_ms);
    line.number(" total_ms=", r.total_ms);
    line.number(" pieces=", static_cast<int64_t>(r.pieces));
    line.number(" prompt_tokens=", r.prompt_tokens);
    line.number(" completion_tokens=", r.completion_tokens);
    line.number(" resent=", r.resent ? 1 : 0);
    out += format == LogFormat::Json ? "}\n" : "\n";
}

void AccessLog::use(LogTarget target)
{
    const std::lock_guard<std::mutex> guard(lock_);
    target_ = std::move(target);
    enabled_.store(target_.valid(), std::memory_order_relaxed);
}

void AccessLog::write_lines(std::string_view lines)
{
    const std::lock_guard<std::mutex> guard(lock_);
    lost_ += target_.write(LogLevel::Info, lines);
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
