// The error log: formats a line, escapes what is not printable, and writes it
// with one write(2). The level is an atomic and the descriptor is only ever
// replaced in place with dup2(2), so no thread needs a lock to write.
#include "llm_proxy/base/log.h"

#include "llm_proxy/base/clock.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

constexpr size_t kMaxLine = 2048;
const char *const kLevelNames[] = {"error", "warning", "notice", "info",
                                   "debug"};

std::atomic<LogLevel> level_now{LogLevel::Notice};
std::atomic<LogFormat> format_now{LogFormat::Text};
std::atomic<int> fd_now{STDERR_FILENO};
std::atomic<unsigned long> dropped{0};

// Only log_configure and log_reopen touch these; both run in one thread.
std::string &file_name()
{
    static std::string name;
    return name;
}

Fd &file()
{
    static Fd fd;
    return fd;
}

Fd open_log(const std::string &name)
{
    return Fd(
        open(name.c_str(),
             O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
             0640));
}

// Makes the log go to `fresh`. The number that other threads may be writing
// to is kept and only what it stands for changes.
bool install(Fd fresh)
{
    if (!file().valid()) {
        file() = std::move(fresh);
    } else if (dup3(fresh.get(), file().get(), O_CLOEXEC) == -1) {
        return false;
    }
    fd_now.store(file().get());
    return true;
}

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

void write_line(LogLevel level, std::string_view message)
{
    const bool json = format_now.load() == LogFormat::Json;
    const std::string_view end = json ? "\"}\n" : "\n";
    std::string line;
    line.reserve(kMaxLine);
    if (json) {
        line += "{\"ts\":\"";
        append_iso_time(line, SystemClock().wall_ms());
        line += "\",\"level\":\"";
        line += kLevelNames[static_cast<size_t>(level)];
        line += "\",\"msg\":\"";
    } else {
        append_iso_time(line, SystemClock().wall_ms());
        line += ' ';
        line += kLevelNames[static_cast<size_t>(level)];
        line += ": ";
    }
    append_printable(line, message, kMaxLine - line.size() - end.size(), json);
    line += end;
    // A line that is not out whole counts as lost: the rest would otherwise
    // mix with another thread's line.
    if (write_at_once(fd_now.load(), line) !=
        static_cast<ssize_t>(line.size())) {
        dropped.fetch_add(1, std::memory_order_relaxed);
    }
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
        write_line(level,
                   std::string_view(message, std::min(static_cast<size_t>(size),
                                                      sizeof(message) - 1)));
    }
    errno = saved_errno;
}

bool is_plain(char c)
{
    return c >= 0x20 && c <= 0x7e && c != '"' && c != '\\';
}

} // namespace

bool log_configure(LogLevel level, LogFormat format, const std::string &path,
                   Error &err)
{
    if (path.empty()) {
        // The old file stays open: a thread may be writing to it.
        fd_now.store(STDERR_FILENO);
    } else {
        Fd fresh = open_log(path);
        if (!fresh.valid() || !install(std::move(fresh))) {
            err.message = "cannot open " + path + ": " + strerror(errno);
            return false;
        }
    }
    file_name() = path;
    level_now.store(level);
    format_now.store(format);
    return true;
}

void log_reopen()
{
    if (file_name().empty()) {
        return;
    }
    Fd fresh = open_log(file_name());
    if (!fresh.valid() || !install(std::move(fresh))) {
        log_error("cannot reopen the log file: %s", strerror(errno));
    }
}

bool log_enabled(LogLevel level)
{
    return level <= level_now.load(std::memory_order_relaxed);
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
