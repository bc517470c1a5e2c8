// Lines between two processes.
#include "channel.h"

#include "llm_proxy/base/clock.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

// What is longer is not ours.
constexpr size_t kMaxLine = size_t{64} * 1024;

} // namespace

Channel::Channel(EventLoop &loop, Fd fd, ChannelHandler &handler)
    : loop_(loop), fd_(std::move(fd)), handler_(handler)
{
    fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
}

void Channel::send(std::string_view line)
{
    if (!fd_.valid()) {
        return;
    }
    out_ += line;
    out_ += '\n';
    flush();
}

void Channel::flush()
{
    size_t sent = 0;
    while (sent < out_.size()) {
        const ssize_t n = ::send(fd_.get(), out_.data() + sent,
                                 out_.size() - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            break; // full, or gone: reading will say
        }
        sent += static_cast<size_t>(n);
    }
    out_.erase(0, sent);
    if (watch_ != nullptr) {
        watch_->want(true, !out_.empty());
    }
}

bool Channel::fill()
{
    char bytes[16384];
    for (;;) {
        const ssize_t n = read(fd_.get(), bytes, sizeof(bytes));
        if (n == -1) {
            return errno == EAGAIN || errno == EINTR;
        }
        if (n == 0 || in_.size() > kMaxLine + sizeof(bytes)) {
            return false;
        }
        in_.append(bytes, static_cast<size_t>(n));
        if (in_.find('\n') != std::string::npos) {
            return true; // the rest when these are done
        }
    }
}

bool Channel::take_line(std::string &out)
{
    const size_t end = in_.find('\n');
    if (end == std::string::npos) {
        return false;
    }
    out = in_.substr(0, end);
    in_.erase(0, end + 1);
    return true;
}

bool Channel::wait_line(std::string &out, int64_t timeout_ms)
{
    const SystemClock clock;
    const int64_t until_ms = clock.mono_ms() + timeout_ms;
    while (!take_line(out)) {
        const int64_t left_ms = until_ms - clock.mono_ms();
        pollfd ready = {
            fd_.get(),
            static_cast<short>(POLLIN | (out_.empty() ? 0 : POLLOUT)), 0};
        if (left_ms <= 0) {
            return false;
        }
        if (poll(&ready, 1,
                 static_cast<int>(std::min<int64_t>(left_ms, 60'000))) == -1) {
            if (errno == EINTR) {
                continue; // a signal, which the loop takes later
            }
            return false;
        }
        flush();
        if ((ready.revents & ~POLLOUT) != 0 && !fill()) {
            return take_line(out);
        }
    }
    return true;
}

void Channel::listen()
{
    IoHandler &handler = *this;
    watch_ = std::make_unique<IoWatch>(loop_, fd_.get(), handler);
    watch_->want(true, !out_.empty());
}

void Channel::on_io(bool readable, bool writable)
{
    if (writable) {
        flush();
    }
    if (!readable) {
        return;
    }
    const bool more = fill();
    std::string line;
    while (take_line(line)) {
        handler_.on_line(*this, line);
    }
    if (!more) {
        watch_.reset();
        fd_.reset();
        handler_.on_closed(*this);
    }
}

} // namespace llmproxy
