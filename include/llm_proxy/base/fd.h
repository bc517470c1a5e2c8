#ifndef LLM_PROXY_BASE_FD_H
#define LLM_PROXY_BASE_FD_H

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

} // namespace llmproxy

#endif
