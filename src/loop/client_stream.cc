// The client's socket. Reads into the worker's one buffer, writes directly,
// and only what the kernel refuses goes through an evbuffer.
#include "llm_proxy/loop/client_stream.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <cerrno>

#include <sys/socket.h>
#include <sys/uio.h>

#include <event2/buffer.h>

namespace llmproxy
{

namespace
{

// The kernel takes no bytes now, but will.
bool is_passing(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR ||
           error == ENOBUFS || error == ENOMEM;
}

} // namespace

ClientStream::ClientStream(EventLoop &loop, Fd fd, ReadBuffer &buffer,
                           ByteBudget &budget, ClientStreamHandler &handler)
    : loop_(loop), fd_(std::move(fd)), watch_(loop, fd_.get(), *this),
      buffer_(buffer), budget_(budget), handler_(handler),
      progress_ms_(loop.now_ms())
{
    watch_.want(true, false);
}

ClientStream::~ClientStream()
{
    budget_.give(kept_.size());
    if (output_ != nullptr) {
        budget_.give(evbuffer_get_length(output_));
        evbuffer_free(output_);
    }
}

size_t ClientStream::queued() const
{
    return output_ == nullptr ? 0 : evbuffer_get_length(output_);
}

void ClientStream::send(const iovec *pieces, int count)
{
    if (broken_) {
        return;
    }
    for (int i = 0; i < count; i++) {
        bytes_taken_ += pieces[i].iov_len;
    }
    size_t sent = 0;
    if (queued() == 0) {
        msghdr message{};
        message.msg_iov = const_cast<iovec *>(pieces);
        message.msg_iovlen = static_cast<size_t>(count);
        ssize_t n;
        do {
            n = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
        } while (n == -1 && errno == EINTR);
        if (n == -1 && !is_passing(errno)) {
            break_off();
            return;
        }
        if (n > 0) {
            sent = static_cast<size_t>(n);
        }
        progress_ms_ = loop_.now_ms();
    }
    size_t queued_now = 0;
    for (int i = 0; i < count; i++) {
        if (sent >= pieces[i].iov_len) {
            sent -= pieces[i].iov_len;
            continue;
        }
        if (output_ == nullptr) {
            output_ = evbuffer_new();
        }
        const size_t rest = pieces[i].iov_len - sent;
        if (output_ == nullptr ||
            evbuffer_add(output_,
                         static_cast<const char *>(pieces[i].iov_base) + sent,
                         rest) == -1) {
            fatal("evbuffer: out of memory");
        }
        queued_now += rest;
        sent = 0;
    }
    if (queued_now > 0) {
        budget_.take(queued_now);
        watch_.want(watch_.wants_read(), true);
    }
}

void ClientStream::break_off()
{
    broken_ = true;
    // Makes the socket readable, so that the loop learns of it by reading.
    ::shutdown(fd_.get(), SHUT_RDWR);
}

void ClientStream::shutdown_write()
{
    ::shutdown(fd_.get(), SHUT_WR);
}

void ClientStream::on_io(bool readable, bool writable)
{
    // The owner is buried, never freed, inside a callback: *this lasts.
    if (writable) {
        write_some();
    }
    if (readable) {
        read_some();
    }
}

void ClientStream::write_some()
{
    const size_t before = queued();
    const int n = evbuffer_write(output_, fd_.get());
    if (n == -1 && !is_passing(errno)) {
        break_off();
        evbuffer_drain(output_, before);
    }
    const size_t after = queued();
    budget_.give(before - after);
    if (!broken_ && before > after) {
        progress_ms_ = loop_.now_ms();
    }
    if (after == 0) {
        watch_.want(watch_.wants_read(), false);
    }
    if (after <= kLowMark) {
        handler_.on_client_drained();
    }
}

void ClientStream::read_some()
{
    if (eof_) {
        return;
    }
    const ssize_t n = recv(fd_.get(), buffer_.bytes, ReadBuffer::kSize, 0);
    if (n == -1 &&
        (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        gone();
        return;
    }
    const std::string_view fresh(buffer_.bytes, static_cast<size_t>(n));
    if (!kept_.empty()) {
        keep(fresh);
        offer_again();
        return;
    }
    offering_ = true;
    const size_t used = handler_.on_client_data(fresh);
    offering_ = false;
    keep(fresh.substr(used));
}

void ClientStream::offer_again()
{
    // Inside on_client_data() the handler sees the bytes anyway.
    if (offering_ || kept_.empty() || eof_) {
        return;
    }
    offering_ = true;
    const size_t used = handler_.on_client_data(kept_);
    offering_ = false;
    drop_kept(used);
}

void ClientStream::keep(std::string_view bytes)
{
    kept_.append(bytes);
    budget_.take(bytes.size());
}

void ClientStream::drop_kept(size_t bytes)
{
    budget_.give(bytes);
    if (bytes == kept_.size()) {
        free_text(kept_);
    } else {
        kept_.erase(0, bytes);
    }
}

void ClientStream::gone()
{
    eof_ = true;
    watch_.want(false, watch_.wants_write());
    handler_.on_client_gone();
}

} // namespace llmproxy
