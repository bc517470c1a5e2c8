#ifndef LLM_PROXY_BASE_LOG_H
#define LLM_PROXY_BASE_LOG_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/base/log_target.h"

#include <string>
#include <string_view>
#include <vector>

#define LLMPROXY_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

// The error log. One line a call, written whole, so lines of several threads
// never mix. Every byte of a message that is not printable ASCII is escaped as
// \xNN before it is written (a backend, a client or a file name cannot forge a
// line or move the terminal); a line is cut at 2048 bytes. A line that cannot
// be written at once is dropped and counted. The same warning or error is
// written three times in a period, then counted only.
namespace llmproxy
{

enum class LogFormat { Text, Json };

// Before any thread starts, and again on reload. `name` as LogTarget::open()
// takes it, but empty = stderr. On false the earlier settings stay. Text lines
// are "2026-11-24T12:00:00.123Z error: message", without the time where the
// target stamps them; JSON lines have ts, level, msg.
[[nodiscard]] bool log_configure(LogLevel level, LogFormat format,
                                 const std::string &name, Error &err);
// Opens the log file anew (after logrotate moved it away).
void log_reopen();
// Ends a period: says how often what was not written came, and how many lines
// were lost. To be called every few seconds, and at the end.
void log_end_period();
// The descriptor of the log where that is a file, else standard error's: for
// what must be said without a lock or memory.
int log_descriptor();
bool log_enabled(LogLevel level);
LogLevel log_level();
// Until the next log_configure(). Any thread.
void log_set_level(LogLevel level);
const char *log_level_name(LogLevel level);
// All of them, the most important first.
const std::vector<std::string_view> &log_level_names();
unsigned long log_dropped();

void log_error(const char *fmt, ...) LLMPROXY_PRINTF(1, 2);
void log_warning(const char *fmt, ...) LLMPROXY_PRINTF(1, 2);
void log_notice(const char *fmt, ...) LLMPROXY_PRINTF(1, 2);
void log_info(const char *fmt, ...) LLMPROXY_PRINTF(1, 2);
void log_debug(const char *fmt, ...) LLMPROXY_PRINTF(1, 2);

// Logs and aborts: only where going on would corrupt.
[[noreturn]] void fatal(const char *fmt, ...) LLMPROXY_PRINTF(1, 2);

// Appends `text` with every byte outside 0x20..0x7e, and \ and ", as \xNN;
// at most `max` bytes of the text, then "...".
void append_escaped(std::string &out, std::string_view text, size_t max = 512);

} // namespace llmproxy

#endif
