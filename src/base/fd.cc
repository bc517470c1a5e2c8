// Owns file descriptors: each is closed exactly once.
#include "llm_proxy/base/fd.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <mutex>

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llmproxy
{

Fd &Fd::operator=(Fd &&other) noexcept
{
    if (this != &other) {
        reset(other.release());
    }
    return *this;
}

int Fd::release()
{
    const int fd = fd_;
    fd_ = -1;
    return fd;
}

void Fd::reset(int fd)
{
    if (fd_ != -1) {
        close(fd_); // not repeated on EINTR: Linux has freed the number
    }
    fd_ = fd;
}

ssize_t write_at_once(int fd, std::string_view bytes)
{
    struct stat info = {};
    if (fstat(fd, &info) == -1 || S_ISREG(info.st_mode)) {
        return write(fd, bytes.data(), bytes.size());
    }
    if (S_ISSOCK(info.st_mode)) {
        return send(fd, bytes.data(), bytes.size(),
                    MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    // A pipe that is ready takes PIPE_BUF bytes, unless another thread was
    // faster. (O_NONBLOCK would hold for all who share the description.)
    static std::mutex lock;
    const std::lock_guard<std::mutex> guard(lock);
    size_t done = 0;
    while (done < bytes.size()) {
        pollfd ready = {fd, POLLOUT, 0};
        if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
            break;
        }
        std::string_view part = bytes.substr(done, PIPE_BUF);
        const size_t line_end = part.rfind('\n');
        if (done + part.size() < bytes.size() &&
            line_end != std::string_view::npos) {
            part = part.substr(0, line_end + 1);
        }
        const ssize_t n = write(fd, part.data(), part.size());
        if (n <= 0) {
            break;
        }
        done += static_cast<size_t>(n);
    }
    if (done == 0 && !bytes.empty()) {
        errno = EAGAIN;
        return -1;
    }
    return static_cast<ssize_t>(done);
}

} // namespace llmproxy
