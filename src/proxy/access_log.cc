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
// comes with what is around it in text. The line is gathered in a room of its
// own: to append each of its sixty words to a string costs more than to copy
// them.
class LineWriter
{
public:
    LineWriter(std::string &out, std::string &escaped, LogFormat format)
        : out_(out), escaped_(escaped), json_(format == LogFormat::Json)
    {
    }
    ~LineWriter() { spill(); }
    LineWriter(const LineWriter &) = delete;
    LineWriter &operator=(const LineWriter &) = delete;

    void put(std::string_view text)
    {
        if (text.size() > sizeof(room_) - used_) {
            spill();
        }
        if (text.size() > sizeof(room_)) {
            out_ += text;
            return;
        }
        used_ += text.copy(room_ + used_, text.size());
    }

    // Nothing in it needs an escape. Empty where there is none.
    void word(std::string_view name, std::string_view value)
    {
        key(name);
        if (value.empty()) {
            put(json_ ? "null" : "-");
            return;
        }
        quote(json_);
        put(value);
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
        escaped_.clear();
        append_escaped(escaped_, value);
        if (json_) {
            spill();
            json::append_string(out_, escaped_);
            return;
        }
        quote(quoted);
        put(escaped_);
        quote(quoted);
    }

    void number(std::string_view name, int64_t value)
    {
        key(name);
        if (value < 0) {
            put(json_ ? "null" : "-");
        } else {
            char digits[kMaxDigits];
            put(write_u64(digits, static_cast<uint64_t>(value)));
        }
    }

private:
    void quote(bool wanted)
    {
        if (wanted) {
            put("\"");
        }
    }

    // In one piece, as text has it; JSON is made of that.
    void key(std::string_view name)
    {
        if (!json_) {
            put(name);
            return;
        }
        if (name.front() == ' ') {
            put(",");
            name.remove_prefix(1);
        }
        put("\"");
        put(name.substr(0, name.size() - 1));
        put("\":");
    }

    void spill()
    {
        out_.append(room_, used_);
        used_ = 0;
    }

    std::string &out_;
    std::string &escaped_; // room for somebody else's words
    bool json_;
    size_t used_ = 0; // of room_
    char room_[1024];
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
    thread_local std::string escaped; // keeps its memory
    LineWriter line(out, escaped, format);
    line.put(format == LogFormat::Json ? "{" : "");
    line.word("ts=", iso_time(wall_ms));
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
    line.put(format == LogFormat::Json ? "}\n" : "\n");
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
