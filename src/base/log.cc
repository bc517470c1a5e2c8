// The error log: formats a line, escapes what is not printable, counts what
// comes again and again, and writes it whole.
#include "llm_proxy/base/log.h"

#include "llm_proxy/base/clock.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include <unistd.h>

namespace llmproxy
{

namespace
{

constexpr size_t kMaxLine = 2048;
// Different messages that are counted at a time, and how often each is
// written.
constexpr size_t kMaxSaid = 32;
constexpr unsigned long kWritten = 3;

// A warning or an error of this period.
struct Said {
    LogLevel level;
    std::string message;
    unsigned long times;
};

struct Log {
    std::mutex lock; // of all that follows
    LogTarget target = LogTarget::standard_error();
    std::string name = "-";
    std::vector<Said> said;
    unsigned long reported = 0; // of `dropped`
};

// Never destroyed: threads may log to the end.
Log &the_log()
{
    static Log *log = new Log;
    return *log;
}

std::atomic<LogLevel> level_now{LogLevel::Notice};
std::atomic<LogFormat> format_now{LogFormat::Text};
std::atomic<unsigned long> dropped{0};
std::atomic<int> descriptor{STDERR_FILENO};

// Appends at most `room` bytes for `text`; never half an escape.
void append_printable(std::string &out, std::string_view text, size_t room,
                      bool json)
{
    static const char digits[] = "0123456789abcdef";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        char escape[8];
        size_t size = 1;
        escape[0] = c;
        if (byte < 0x20 || byte > 0x7e) {
            // In JSON the backslash of \xNN is itself escaped.
            size = json ? 5 : 4;
            memcpy(escape, json ? "\\\\x" : "\\x", size - 2);
            escape[size - 2] = digits[byte >> 4];
            escape[size - 1] = digits[byte & 15];
        } else if (json && (c == '"' || c == '\\')) {
            escape[0] = '\\';
            escape[1] = c;
            size = 2;
        }
        if (size > room) {
            return;
        }
        out.append(escape, size);
        room -= size;
    }
}

// With the lock held.
void write_line(Log &log, LogLevel level, std::string_view message)
{
    const bool json = format_now.load() == LogFormat::Json;
    const std::string_view end = json ? "\"}\n" : "\n";
    std::string line;
    line.reserve(kMaxLine);
    if (json) {
        line += "{\"ts\":\"";
        line += iso_time(SystemClock().wall_ms());
        line += "\",\"level\":\"";
        line += log_level_name(level);
        line += "\",\"msg\":\"";
    } else {
        if (!log.target.stamps()) {
            line += iso_time(SystemClock().wall_ms());
            line += ' ';
        }
        line += log_level_name(level);
        line += ": ";
    }
    append_printable(line, message, kMaxLine - line.size() - end.size(), json);
    line += end;
    dropped += log.target.write(level, line);
}

// Whether it is to be written, too. With the lock held.
bool count(Log &log, LogLevel level, std::string_view message)
{
    if (level > LogLevel::Warning) {
        return true;
    }
    for (Said &said : log.said) {
        if (said.message == message && said.level == level) {
            said.times++;
            return said.times <= kWritten;
        }
    }
    if (log.said.size() < kMaxSaid) {
        log.said.push_back({level, std::string(message), 1});
    }
    return true;
}

LLMPROXY_PRINTF(2, 0)
void log_va(LogLevel level, const char *fmt, va_list args)
{
    if (!log_enabled(level)) {
        return;
    }
    const int saved_errno = errno;
    char message[kMaxLine];
    // clang-tidy 14 loses the caller's va_start on the way in here.
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized)
    const int size = vsnprintf(message, sizeof(message), fmt, args);
    if (size >= 0) {
        const std::string_view text(
            message, std::min(static_cast<size_t>(size), sizeof(message) - 1));
        Log &log = the_log();
        const std::lock_guard<std::mutex> guard(log.lock);
        if (count(log, level, text)) {
            write_line(log, level, text);
        }
    }
    errno = saved_errno;
}

bool is_plain(char c)
{
    return c >= 0x20 && c <= 0x7e && c != '"' && c != '\\';
}

} // namespace

bool log_configure(LogLevel level, LogFormat format, const std::string &name,
                   Error &err)
{
    Log &log = the_log();
    const std::lock_guard<std::mutex> guard(log.lock);
    const std::string target = name.empty() ? "-" : name;
    if (!log.target.open(target, err)) {
        return false;
    }
    log.name = target;
    descriptor = log.target.descriptor();
    level_now.store(level);
    format_now.store(format);
    return true;
}

void log_reopen()
{
    Log &log = the_log();
    Error err;
    {
        const std::lock_guard<std::mutex> guard(log.lock);
        if (log.target.open(log.name, err)) {
            descriptor = log.target.descriptor();
            return;
        }
    }
    log_error("cannot reopen the log: %s", err.message.c_str());
}

void log_end_period()
{
    Log &log = the_log();
    const std::lock_guard<std::mutex> guard(log.lock);
    for (const Said &said : std::exchange(log.said, {})) {
        if (said.times > kWritten) {
            write_line(log, said.level,
                       said.message + " (" +
                           std::to_string(said.times - kWritten) +
                           " more times)");
        }
    }
    const unsigned long lost = dropped.load() - log.reported;
    if (lost > 0) {
        log.reported += lost;
        const unsigned long before = dropped.load();
        write_line(log, LogLevel::Warning,
                   "lines of this log that were lost: " + std::to_string(lost));
        log.reported -= dropped.load() > before ? lost : 0;
    }
}

int log_descriptor()
{
    return descriptor.load();
}

bool log_enabled(LogLevel level)
{
    return level <= level_now.load(std::memory_order_relaxed);
}

LogLevel log_level()
{
    return level_now.load(std::memory_order_relaxed);
}

void log_set_level(LogLevel level)
{
    level_now.store(level, std::memory_order_relaxed);
}

const std::vector<std::string_view> &log_level_names()
{
    static const std::vector<std::string_view> names = {
        "error", "warning", "notice", "info", "debug"};
    return names;
}

const char *log_level_name(LogLevel level)
{
    return log_level_names()[static_cast<size_t>(level)].data();
}

unsigned long log_dropped()
{
    return dropped.load(std::memory_order_relaxed);
}

// printf's way, so that the compiler checks the arguments.
// NOLINTBEGIN(cert-dcl50-cpp)
void log_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(LogLevel::Error, fmt, args);
    va_end(args);
}

void log_warning(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(LogLevel::Warning, fmt, args);
    va_end(args);
}

void log_notice(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(LogLevel::Notice, fmt, args);
    va_end(args);
}

void log_info(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(LogLevel::Info, fmt, args);
    va_end(args);
}

void log_debug(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(LogLevel::Debug, fmt, args);
    va_end(args);
}

void fatal(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(LogLevel::Error, fmt, args);
    va_end(args);
    log_end_period();
    abort();
}
// NOLINTEND(cert-dcl50-cpp)

void append_escaped(std::string &out, std::string_view text, size_t max)
{
    static const char digits[] = "0123456789abcdef";
    const bool cut = text.size() > max;
    text = text.substr(0, max);
    while (!text.empty()) {
        size_t plain = 0;
        while (plain < text.size() && is_plain(text[plain])) {
            plain++;
        }
        out.append(text.substr(0, plain));
        text.remove_prefix(plain);
        if (!text.empty()) {
            const auto byte = static_cast<unsigned char>(text.front());
            out += "\\x";
            out += digits[byte >> 4];
            out += digits[byte & 15];
            text.remove_prefix(1);
        }
    }
    if (cut) {
        out += "...";
    }
}

} // namespace llmproxy
