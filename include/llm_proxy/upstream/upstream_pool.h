#ifndef LLM_PROXY_UPSTREAM_UPSTREAM_POOL_H
#define LLM_PROXY_UPSTREAM_UPSTREAM_POOL_H

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/config/backends.h"
#include "llm_proxy/http/message.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace llmproxy
{

class BackendGate;
class EventLoop;

// Why a transfer ended before its answer was whole.
enum class TransferFault {
    None,
    QueueFull,
    QueueTimeout,
    Resolve,
    Connect,
    ConnectTimeout,
    Tls,
    Reset,            // connected, but no byte of an answer came
    FirstByteTimeout, // no answer's head in time
    IdleTimeout,      // silence in the middle of the body
    Truncated,        // cut in the middle
    Malformed,        // no HTTP that we accept
    Exhausted,        // the system had no socket left for it
    Internal,
};

struct TransferEnd {
    TransferFault fault = TransferFault::None;
    bool reached = false; // the backend may have seen the request
    std::string detail;   // the library's words, for the log only
};

// When things happened, in loop time; -1 = not.
struct TransferTimes {
    int64_t submitted_ms = -1;
    int64_t started_ms = -1;   // left the queue
    int64_t connected_ms = -1; // the request begins to go out
    int64_t head_ms = -1;      // the answer's head is complete
    bool resent = false;       // a dead reused connection was replaced
};

enum class Take {
    Taken,
    Pause, // not taken: offered again after resume()
    Abort, // the sink wants no more; on_upstream_end() still comes
};

// The owner of a transfer. The first two are called from inside curl: they
// may only record, translate and append. The last two come from the loop and
// may do anything, destroying the transfer included.
class TransferSink
{
public:
    // The final head (never 1xx); its views live during the call.
    virtual Take on_upstream_head(const ReplyHead &head) = 0;
    virtual Take on_upstream_data(std::string_view bytes) = 0;
    // Something was taken in this turn and the transfer goes on.
    virtual void on_upstream_turn() = 0;
    // Exactly once, the last call, never from inside submit(); not after the
    // transfer was destroyed.
    virtual void on_upstream_end(const TransferEnd &end) = 0;

protected:
    ~TransferSink() = default;
};

struct TransferOptions {
    int64_t connect_timeout_ms = 0;
    int64_t first_byte_timeout_ms = 0;
    int64_t idle_timeout_ms = 0;
    int64_t queue_timeout_ms = 0;
    // Takes one of the backend's places, of which BACKEND_MAX_INFLIGHT are
    // there; false for what costs the backend nothing, like a list.
    bool gated = true;
};

class UpstreamPool;

// One request to a backend, from the queue to its end. Destroying it closes
// the backend's connection in the same turn, in every phase. Not to be
// destroyed from inside on_upstream_head() or on_upstream_data().
class UpstreamTransfer
{
public:
    ~UpstreamTransfer();
    UpstreamTransfer(const UpstreamTransfer &) = delete;
    UpstreamTransfer &operator=(const UpstreamTransfer &) = delete;

    // Offers the data again that a Pause refused, in this turn or the next.
    void resume();
    // The sink has all it wants: lets the rest of the answer run out for a
    // moment so that the connection can be used again. Destroys *this.
    static void let_finish(std::unique_ptr<UpstreamTransfer> transfer);
    const TransferTimes &times() const;
    // True once the backend may have seen the request.
    bool reached() const;
    // True once the answer's head has come and every byte of the request has
    // gone out: its body views are not looked at again.
    bool answering() const;

private:
    friend class UpstreamPool;
    UpstreamTransfer(UpstreamPool &pool, uint64_t id) : pool_(pool), id_(id) {}

    UpstreamPool &pool_;
    uint64_t id_;
};

// A worker's connections to all backends, over one curl multi handle. Pauses,
// deadlines, one resend of a request whose reused connection was dead, and
// the queue in front of the gates are its business; what is in the bytes is
// not.
class UpstreamPool
{
public:
    // `gates` has one for each backend, indexed by BackendKind, and outlives
    // the pool. The loop must still exist when the pool is destroyed.
    UpstreamPool(EventLoop &loop, BackendGate *gates);
    ~UpstreamPool();
    UpstreamPool(const UpstreamPool &) = delete;
    UpstreamPool &operator=(const UpstreamPool &) = delete;

    // From the loop, not from inside the two curl-side sink calls. The
    // request's body views and the sink outlive the transfer; its other
    // strings are taken over.
    [[nodiscard]] std::unique_ptr<UpstreamTransfer>
    submit(const BackendConfig &backend, UpstreamRequest request,
           const TransferOptions &options, TransferSink &sink);

    // libcurl's global set-up, once, before any thread; false = unusable.
    static bool global_init();
    // Versions of libcurl and what it uses, for -V and the log.
    static std::string version();

private:
    friend class UpstreamTransfer;
    class Impl; // owns all that is curl's
    std::unique_ptr<Impl> impl_;
};

} // namespace llmproxy

#endif
