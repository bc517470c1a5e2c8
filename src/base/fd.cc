// Owns file descriptors: each is closed exactly once.
#include "llm_proxy/base/fd.h"

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

} // namespace llmproxy
