#ifndef LLM_PROXY_UPSTREAM_TRANSFER_H
#define LLM_PROXY_UPSTREAM_TRANSFER_H

#include "llm_proxy/base/handles.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <string>
#include <string_view>
#include <vector>

#include <curl/curl.h>

#include "curl_options.h"
#include "curl_sockets.h"
#include "parsed_urls.h"

namespace llmproxy
{

class Transfer;

class TransferOwner
{
public:
    // The transfer took something from curl in this action.
    virtual void on_touched(Transfer &transfer) = 0;
    // Its deadline passed. From the loop.
    virtual void on_deadline(Transfer &transfer) = 0;

protected:
    ~TransferOwner() = default;
};

// One easy handle with the request it serves now. Pooled: the handle keeps
// its constant options from request to request. Knows the request, the
// answer's head and the deadlines; the multi handle is the pool's business.
class Transfer final : private TimerHandler
{
public:
    // All references outlive it.
    Transfer(EventLoop &loop, CurlSockets &sockets, ParsedUrls &urls,
             TransferOwner &owner);
    ~Transfer() = default;
    Transfer(const Transfer &) = delete;
    Transfer &operator=(const Transfer &) = delete;

    // Takes a request on; the deadline for waiting in the queue runs.
    void begin(uint64_t id, const BackendConfig &backend,
               UpstreamRequest request, const TransferOptions &options,
               TransferSink &sink);
    // Leaves the queue: sets the request's options. False: libcurl has
    // refused one, now or when the handle was made; the transfer must not go.
    [[nodiscard]] bool start();
    // Judges curl's result. False: the request is to be sent once more, on a
    // fresh connection (add the handle again).
    bool finish(CURLcode result, TransferEnd &end);
    // Ends it with a fault of ours.
    TransferEnd fail(TransferFault fault) const;
    // The deadline that passed, as a fault.
    TransferFault deadline_fault() const;
    // Nobody reads the answer any more: it gets a second and 64 KiB to run
    // out. False if the request has not gone out whole.
    [[nodiscard]] bool detach();
    // False: it has failed, and curl will not say so again.
    [[nodiscard]] bool resume();
    // Forgets the request; the handle waits for the next one.
    void clear();

    CURL *easy() const { return easy_.get(); }
    uint64_t id() const { return id_; }
    TransferSink *sink() const { return sink_; }
    BackendKind backend() const { return kind_; }
    // The handle's constant options still hold.
    bool reusable() const { return reusable_ && usable_; }
    bool gated() const { return options_.gated; }
    bool running() const { return times_.started_ms != -1; }
    bool paused() const { return paused_; }
    // Of the connection that the request went out on.
    int local_port() const { return local_port_; }
    bool reached() const { return attempts_ > 0; }
    bool request_sent() const;
    const TransferTimes &times() const { return times_; }

    // Its owner is still to be told of this action (on_upstream_turn).
    bool touched = false;

private:
    static size_t write_cb(char *data, size_t, size_t length,
                           void *arg) noexcept;
    static size_t header_cb(char *data, size_t, size_t length,
                            void *arg) noexcept;
    static size_t read_cb(char *out, size_t, size_t room, void *arg) noexcept;
    static int seek_cb(void *arg, curl_off_t offset, int origin) noexcept;
    static int prereq_cb(void *arg, char *, char *, int, int) noexcept;

    void on_timer(Timer &timer) override;
    void set_constant_options(CurlSockets &sockets);
    template <typename Value>
    void set(CURLoption option, Value value)
    {
        usable_ = set_option(easy_.get(), option, value) && usable_;
    }
    void set_headers();
    void set_body();
    bool take_header(std::string_view line);
    bool complete_head();
    size_t take_data(std::string_view bytes);
    bool record(Take take);

    EventLoop &loop_;
    ParsedUrls &urls_;
    TransferOwner &owner_;
    Handle<CURL, curl_easy_cleanup> easy_;
    Timer timer_;

    uint64_t id_ = 0;
    const BackendConfig *backend_ = nullptr; // pinned by the sink's owner
    BackendKind kind_ = BackendKind::Ollama;
    TransferSink *sink_ = nullptr;
    UpstreamRequest request_;
    TransferOptions options_;
    TransferTimes times_;
    std::string url_;
    std::vector<curl_slist> headers_;
    curl_off_t body_size_ = 0;
    size_t body_piece_ = 0;
    size_t body_offset_ = 0;
    std::string head_text_;
    std::vector<size_t> head_lines_; // offsets of line starts in head_text_
    size_t head_bytes_ = 0;          // of all heads, 1xx included
    size_t detached_bytes_ = 0;
    TransferFault fault_ = TransferFault::None; // found inside a callback
    int attempts_ = 0;                          // times the request went out
    bool head_done_ = false;
    bool any_byte_ = false;
    bool paused_ = false;
    int local_port_ = 0;
    bool reusable_ = true;
    bool usable_ = true; // libcurl took every option
    char error_text_[CURL_ERROR_SIZE] = "";
};

} // namespace llmproxy

#endif
