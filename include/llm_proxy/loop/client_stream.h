#ifndef LLM_PROXY_LOOP_CLIENT_STREAM_H
#define LLM_PROXY_LOOP_CLIENT_STREAM_H

#include "llm_proxy/base/byte_budget.h"
#include "llm_proxy/base/fd.h"
#include "llm_proxy/loop/event_loop.h"

#include <cstdint>
#include <string>
#include <string_view>

struct evbuffer;
struct iovec;

namespace llmproxy
{

// Where every stream of one worker reads into: bytes live in it only during
// one callback.
struct ReadBuffer {
    static constexpr size_t kSize = size_t{64} * 1024;
    char bytes[kSize];
};

class ClientStreamHandler
{
public:
    // Bytes have come; returns how many were used. The rest is kept, and
    // offered again in front of what comes next, or by offer_again(). Reading
    // never stops, or a client that leaves would not be noticed: the handler
    // ends one of whom it keeps too much.
    virtual size_t on_client_data(std::string_view bytes) = 0;
    // The peer closed its side, or reset. Once; nothing more will be read.
    virtual void on_client_gone() = 0;
    // Output that had been queued fell to kLowMark or below, or is all gone.
    virtual void on_client_drained() = 0;

protected:
    ~ClientStreamHandler() = default;
};

// One client's socket: bytes in, bytes out, no protocol. Sends directly and
// waits for the socket only with what the kernel did not take. All callbacks
// come from the loop, never from inside send(); in one, the owner must not free
// the stream but bury itself.
class ClientStream final : private IoHandler
{
public:
    static constexpr size_t kHighMark = size_t{256} * 1024;
    static constexpr size_t kLowMark = size_t{64} * 1024;

    ClientStream(EventLoop &loop, Fd fd, ReadBuffer &buffer, ByteBudget &budget,
                 ClientStreamHandler &handler);
    ~ClientStream();
    ClientStream(const ClientStream &) = delete;
    ClientStream &operator=(const ClientStream &) = delete;

    // Sends the pieces in order, or queues them. Broken streams drop them.
    void send(const iovec *pieces, int count);
    size_t queued() const;
    // Offers kept input to the handler once more. May bury the owner.
    void offer_again();
    bool has_kept() const { return !kept_.empty(); }
    // No more output; the peer sees the end.
    void shutdown_write();

    // When the kernel last took bytes (loop time), for the stall limit.
    int64_t progress_ms() const { return progress_ms_; }
    // By send(), whether the kernel has them already or not.
    uint64_t bytes_taken() const { return bytes_taken_; }
    int fd() const { return fd_.get(); }

private:
    void on_io(bool readable, bool writable) override;
    void read_some();
    void write_some();
    void gone();
    void keep(std::string_view bytes);
    void drop_kept(size_t bytes);
    void break_off();

    EventLoop &loop_;
    Fd fd_;
    IoWatch watch_;
    ReadBuffer &buffer_;
    ByteBudget &budget_;
    ClientStreamHandler &handler_;
    evbuffer *output_ = nullptr; // made when the kernel first refuses bytes
    std::string kept_;
    int64_t progress_ms_;
    uint64_t bytes_taken_ = 0;
    bool offering_ = false;
    bool eof_ = false;
    bool broken_ = false; // writing failed; reading will tell
};

} // namespace llmproxy

#endif
