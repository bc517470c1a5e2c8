#ifndef LLM_PROXY_SRC_UPSTREAM_UPSTREAM_POOL_IMPL_H
#define LLM_PROXY_SRC_UPSTREAM_UPSTREAM_POOL_IMPL_H

#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/upstream/backend_gate.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "curl_sockets.h"
#include "parsed_urls.h"
#include "place_table.h"
#include "transfer.h"

namespace llmproxy
{

// One curl multi handle, its timer and sockets, the transfers by id, and the
// order in which their owners hear of things.
class UpstreamPool::Impl final : private CurlSocketHandler,
                                 private TransferOwner,
                                 private TimerHandler,
                                 private TurnEndHandler,
                                 private GateClient
{
public:
    Impl(EventLoop &loop, BackendGate *gates);
    ~Impl();
    Impl(const Impl &) = delete;
    Impl &operator=(const Impl &) = delete;

    uint64_t submit(const BackendConfig &backend, UpstreamRequest request,
                    const TransferOptions &options, TransferSink &sink);
    void cancel(uint64_t id);
    void let_finish(uint64_t id);
    void resume(uint64_t id);
    const Transfer *find(uint64_t id) const { return transfers_.find(id); }

private:
    struct Ended {
        uint64_t id;
        TransferEnd end;
    };

    static int timer_cb(CURLM *multi, long timeout_ms, void *arg) noexcept;
    void on_curl_socket(curl_socket_t fd, int mask) override;
    bool is_paused(CURL *easy) const override;
    bool is_held(int local_port) const override;
    void on_touched(Transfer &transfer) override;
    void on_deadline(Transfer &transfer) override;
    void on_timer(Timer &timer) override;
    bool on_turn_end() override;
    void go_on();
    void on_gate_open(uint64_t id) override;
    EventLoop &gate_loop() override { return loop_; }

    void open_multi();
    void begin_anew();
    void act(curl_socket_t fd, int mask);
    void after_action();
    void collect_ended(std::vector<Ended> &ended);
    void add(Transfer &transfer);
    void add_to_curl(Transfer &transfer);
    void fail(uint64_t id);
    void end(uint64_t id, const TransferEnd &end);
    void recycle(std::unique_ptr<Transfer> transfer);

    EventLoop &loop_;
    BackendGate *gates_;
    CurlSockets sockets_;
    ParsedUrls urls_;
    CURLM *multi_ = nullptr;
    Timer timer_;
    PlaceTable<Transfer> transfers_;
    std::vector<std::unique_ptr<Transfer>> idle_;
    std::vector<uint64_t> touched_;
    std::vector<Ended> ended_; // of one action
    std::vector<uint64_t> resumed_;
    std::vector<Ended> failed_; // ends to be told at the end of the turn
    bool due_ = false;          // curl asked for a time-out at once
    bool in_curl_ = false;
};

} // namespace llmproxy

#endif
