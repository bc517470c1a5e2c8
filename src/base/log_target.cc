// Standard error, a file or the syslog socket, written without waiting for
// whoever reads it.
#include "llm_proxy/base/log_target.h"

#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

constexpr std::string_view kSyslog = "syslog";
constexpr char kSyslogSocket[] = "/dev/log";
constexpr int kDaemon = 3 << 3; // syslog's facility

bool is_syslog(std::string_view name)
{
    return name == kSyslog || starts_with(name, "syslog:");
}

bool is_stderr(std::string_view name)
{
    return name == "-" || name == "stderr";
}

// RFC 5424 6.2.1, and sd-daemon(3).
int severity(LogLevel level)
{
    return 3 + static_cast<int>(level);
}

// systemd says which stream it reads, for programs whose standard error went
// elsewhere since.
bool is_journal(int fd)
{
    const char *told = getenv("JOURNAL_STREAM");
    struct stat info = {};
    if (told == nullptr || fstat(fd, &info) == -1) {
        return false;
    }
    std::string stream;
    append_u64(stream, info.st_dev);
    stream += ':';
    append_u64(stream, info.st_ino);
    return stream == told;
}

bool fail(Error &err, std::string_view name)
{
    const int why = errno;
    err.message = std::string(name) + ": " + strerror(why);
    return false;
}

bool connect_to(const std::string &path, Fd &out)
{
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid() || connect(fd.get(), reinterpret_cast<sockaddr *>(&address),
                               sizeof(address)) == -1) {
        return false;
    }
    out = std::move(fd);
    return true;
}

std::string socket_of(const std::string &name)
{
    return name.size() > kSyslog.size() + 1 ? name.substr(kSyslog.size() + 1)
                                            : kSyslogSocket;
}

// RFC 3164 4.1: <30>Nov 24 12:00:00 llm-proxyd[1]: in local time.
std::string syslog_head(LogLevel level)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const time_t now = time(nullptr);
    tm parts = {};
    localtime_r(&now, &parts);
    char head[80];
    const int size = snprintf(
        head, sizeof(head), "<%d>%.3s %2d %02d:%02d:%02d llm-proxyd[%d]: ",
        kDaemon | severity(level),
        &months[static_cast<size_t>(parts.tm_mon) * 3], parts.tm_mday,
        parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(getpid()));
    return {head, static_cast<size_t>(size)};
}

// Takes a line off the front, without its newline.
std::string_view take_line(std::string_view &lines)
{
    const size_t end = std::min(lines.find('\n'), lines.size());
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    return line;
}

} // namespace

std::string_view LogTarget::file_of(std::string_view name)
{
    return is_syslog(name) || is_stderr(name) ? std::string_view() : name;
}

LogTarget LogTarget::standard_error()
{
    LogTarget target;
    target.kind_ = Kind::Stderr;
    return target;
}

bool LogTarget::open(const std::string &name, Error &err)
{
    LogTarget fresh;
    fresh.name_ = name;
    if (is_stderr(name)) {
        fresh.kind_ = Kind::Stderr;
        fresh.journal_ = is_journal(STDERR_FILENO);
    } else if (is_syslog(name)) {
        fresh.kind_ = Kind::Syslog;
        if (!connect_to(socket_of(name), fresh.fd_)) {
            return fail(err, socket_of(name));
        }
    } else if (!name.empty()) {
        fresh.kind_ = Kind::File;
        fresh.fd_.reset(::open(name.c_str(),
                               O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC |
                                   O_NOCTTY | O_NONBLOCK,
                               0640));
        if (!fresh.fd_.valid()) {
            return fail(err, name);
        }
    }
    *this = std::move(fresh);
    return true;
}

int LogTarget::descriptor() const
{
    return kind_ == Kind::File ? fd_.get() : STDERR_FILENO;
}

size_t LogTarget::write(LogLevel level, std::string_view lines)
{
    if (!valid()) {
        return 0;
    }
    if (kind_ == Kind::Syslog) {
        size_t lost = 0;
        const std::string head = syslog_head(level);
        while (!lines.empty()) {
            lost += send_line(head + std::string(take_line(lines))) ? 0 : 1;
        }
        return lost;
    }
    if (!journal_) {
        return write_bytes(lines);
    }
    std::string marked;
    while (!lines.empty()) {
        marked += '<';
        append_u64(marked, static_cast<uint64_t>(severity(level)));
        marked += '>';
        marked += take_line(lines);
        marked += '\n';
    }
    return write_bytes(marked);
}

// How many lines were lost.
size_t LogTarget::write_bytes(std::string_view lines)
{
    const int fd = descriptor();
    ssize_t written = 0;
    if (!cut_ || write_at_once(fd, "\n") == 1) {
        cut_ = false;
        written = write_at_once(fd, lines);
    }
    if (written > 0) {
        cut_ = lines[static_cast<size_t>(written) - 1] != '\n';
        lines.remove_prefix(static_cast<size_t>(written));
    }
    return static_cast<size_t>(std::count(lines.begin(), lines.end(), '\n'));
}

// A syslog daemon that was restarted has a new socket behind the same name.
bool LogTarget::send_line(std::string_view line)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (send(fd_.get(), line.data(), line.size(),
                 MSG_DONTWAIT | MSG_NOSIGNAL) != -1) {
            return true;
        }
        if (errno == EAGAIN || errno == EMSGSIZE ||
            !connect_to(socket_of(name_), fd_)) {
            return false;
        }
    }
    return false;
}

} // namespace llmproxy
