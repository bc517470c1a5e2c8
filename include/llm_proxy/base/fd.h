#ifndef LLM_PROXY_BASE_FD_H
#define LLM_PROXY_BASE_FD_H

#include <string_view>

#include <sys/types.h>

namespace llmproxy
{

// Owns one file descriptor; -1 is none. Closing errors are ignored: nothing
// that is written through an Fd is a regular file whose loss would matter.
class Fd
{
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd &&other) noexcept : fd_(other.release()) {}
    Fd &operator=(Fd &&other) noexcept;
    Fd(const Fd &) = delete;
    Fd &operator=(const Fd &) = delete;
    ~Fd() { reset(); }

    int get() const { return fd_; }
    bool valid() const { return fd_ != -1; }
    // Gives the descriptor away; the caller closes it.
    int release();
    void reset(int fd = -1);

private:
    int fd_ = -1;
};

// Writes what `fd` takes at once, and says how many bytes that were; -1 as
// write(2). It never waits for the reader of a pipe, a socket or a terminal (a
// disk may take its time), and cuts between lines where it can. Any thread.
[[nodiscard]] ssize_t write_at_once(int fd, std::string_view bytes);

} // namespace llmproxy

#endif
