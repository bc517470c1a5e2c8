#ifndef LLM_PROXY_BASE_LOG_TARGET_H
#define LLM_PROXY_BASE_LOG_TARGET_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/base/fd.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace llmproxy
{

enum class LogLevel { Error, Warning, Notice, Info, Debug };

// Where the lines of a log go. For one thread at a time.
class LogTarget
{
public:
    // Empty = nowhere, "-" or "stderr", "syslog" or "syslog:/path/of/socket"
    // (RFC 3164 over a datagram socket, /dev/log by default, facility
    // daemon), or a file, appended to and made with mode 0640. False: nothing
    // has changed.
    [[nodiscard]] bool open(const std::string &name, Error &err);
    // For before open(): standard error as it is.
    static LogTarget standard_error();
    // The path of the file that open() would make or write to; empty if none.
    static std::string_view file_of(std::string_view name);

    bool valid() const { return fd_.valid() || kind_ == Kind::Stderr; }
    // What stands there gets a time and an origin without us: lines need no
    // time. (Syslog, and standard error where it is the journal's.)
    bool stamps() const { return journal_ || kind_ == Kind::Syslog; }
    // What plain text may be written to: the file, or standard error.
    int descriptor() const;
    // Lines, each with its newline. Takes what can be taken at once, see
    // write_at_once(); returns how many lines were not, or not whole. A line
    // that was cut does not run into the next one.
    [[nodiscard]] size_t write(LogLevel level, std::string_view lines);

private:
    enum class Kind { None, Stderr, File, Syslog };

    size_t write_bytes(std::string_view lines);
    bool send_line(std::string_view line);

    Kind kind_ = Kind::None;
    Fd fd_; // not of Kind::Stderr
    std::string name_;
    bool journal_ = false;
    bool cut_ = false; // the last line lacks its end
};

} // namespace llmproxy

#endif
