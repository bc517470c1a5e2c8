// The pool of one worker: one curl multi handle, its timer and sockets, the
// transfers by id, and the order in which their owners hear of things.
#include "llm_proxy/upstream/upstream_pool.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/upstream/backend_gate.h"

#include <unordered_map>
#include <utility>
#include <vector>

#include "curl_options.h"
#include "transfer.h"

namespace llmproxy
{

namespace
{

// Idle connections kept in all, and handles kept for the next requests.
constexpr long kMaxIdleConnections = 1024;
constexpr size_t kMaxIdleHandles = 256;

} // namespace

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
    const Transfer *find(uint64_t id) const;

private:
    struct Ended {
        uint64_t id;
        TransferEnd end;
    };

    static int timer_cb(CURLM *multi, long timeout_ms, void *arg) noexcept;
    void on_curl_socket(curl_socket_t fd, int mask) override;
    void on_touched(Transfer &transfer) override;
    void on_deadline(Transfer &transfer) override;
    void on_timer(Timer &timer) override;
    bool on_turn_end() override;
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
    std::unique_ptr<Transfer> take_out(uint64_t id);
    void recycle(std::unique_ptr<Transfer> transfer);

    EventLoop &loop_;
    BackendGate *gates_;
    CurlSockets sockets_;
    ParsedUrls urls_;
    CURLM *multi_ = nullptr;
    Timer timer_;
    std::unordered_map<uint64_t, std::unique_ptr<Transfer>> transfers_;
    std::vector<std::unique_ptr<Transfer>> idle_;
    std::vector<uint64_t> touched_;
    std::vector<uint64_t> resumed_;
    std::vector<Ended> failed_; // ends to be told at the end of the turn
    uint64_t last_id_ = 0;
    bool due_ = false; // curl asked for a time-out at once
    bool in_curl_ = false;
};

UpstreamPool::Impl::Impl(EventLoop &loop, BackendGate *gates)
    : loop_(loop), gates_(gates), sockets_(loop, *this), timer_(loop, *this)
{
    open_multi();
    loop_.add_turn_end(*this);
}

void UpstreamPool::Impl::open_multi()
{
    multi_ = curl_multi_init();
    if (multi_ == nullptr || !sockets_.install_multi(multi_) ||
        !set_option(multi_, CURLMOPT_TIMERFUNCTION, timer_cb) ||
        !set_option(multi_, CURLMOPT_TIMERDATA, this) ||
        !set_option(multi_, CURLMOPT_MAXCONNECTS, kMaxIdleConnections) ||
        !set_option(multi_, CURLMOPT_PIPELINING,
                    static_cast<long>(CURLPIPE_NOTHING))) {
        fatal("upstream: libcurl gives no multi handle");
    }
}

// libcurl says that it has lost its way: nothing on the handle is sure.
void UpstreamPool::Impl::begin_anew()
{
    std::vector<uint64_t> running;
    for (const auto &entry : transfers_) {
        if (entry.second->running()) {
            running.push_back(entry.first);
            curl_multi_remove_handle(multi_, entry.second->easy());
        }
    }
    curl_multi_cleanup(multi_);
    open_multi();
    timer_.cancel();
    due_ = false;
    touched_.clear();
    for (const uint64_t id : running) {
        fail(id);
    }
}

UpstreamPool::Impl::~Impl()
{
    loop_.remove_turn_end(*this);
    while (!transfers_.empty()) {
        cancel(transfers_.begin()->first);
    }
    idle_.clear();
    // Closes idle connections through sockets_, which is still there.
    curl_multi_cleanup(multi_);
}

uint64_t UpstreamPool::Impl::submit(const BackendConfig &backend,
                                    UpstreamRequest request,
                                    const TransferOptions &options,
                                    TransferSink &sink)
{
    std::unique_ptr<Transfer> transfer;
    if (idle_.empty()) {
        TransferOwner &owner = *this;
        transfer = std::make_unique<Transfer>(loop_, sockets_, urls_, owner);
    } else {
        transfer = std::move(idle_.back());
        idle_.pop_back();
    }
    const uint64_t id = ++last_id_;
    Transfer &entered = *transfer;
    entered.begin(id, backend, std::move(request), options, sink);
    transfers_.emplace(id, std::move(transfer));
    if (!options.gated) {
        add(entered);
        return id;
    }
    switch (gates_[static_cast<size_t>(backend.kind)].enter(*this, id)) {
    case BackendGate::Entry::Entered:
        add(entered);
        break;
    case BackendGate::Entry::Waiting:
        break;
    case BackendGate::Entry::Full:
        failed_.push_back({id, entered.fail(TransferFault::QueueFull)});
        break;
    }
    return id;
}

void UpstreamPool::Impl::add(Transfer &transfer)
{
    if (transfer.start()) {
        add_to_curl(transfer);
    } else {
        failed_.push_back(
            {transfer.id(), transfer.fail(TransferFault::Internal)});
    }
}

void UpstreamPool::Impl::add_to_curl(Transfer &transfer)
{
    // Only arms curl's timer: the request begins at the end of this turn.
    const CURLMcode code = curl_multi_add_handle(multi_, transfer.easy());
    if (code != CURLM_OK) {
        log_error("upstream: curl_multi_add_handle: %s",
                  curl_multi_strerror(code));
        failed_.push_back(
            {transfer.id(), transfer.fail(TransferFault::Internal)});
    }
}

void UpstreamPool::Impl::fail(uint64_t id)
{
    const Transfer *transfer = find(id);
    if (transfer != nullptr) {
        end(id, transfer->fail(TransferFault::Internal));
    }
}

void UpstreamPool::Impl::on_gate_open(uint64_t id)
{
    const std::unordered_map<uint64_t, std::unique_ptr<Transfer>>::iterator
        found = transfers_.find(id);
    if (found != transfers_.end()) {
        add(*found->second);
    }
    // Otherwise cancel() found that the place had been given already and has
    // left the gate for it.
}

std::unique_ptr<Transfer> UpstreamPool::Impl::take_out(uint64_t id)
{
    const std::unordered_map<uint64_t, std::unique_ptr<Transfer>>::iterator
        found = transfers_.find(id);
    if (found == transfers_.end()) {
        return nullptr;
    }
    std::unique_ptr<Transfer> transfer = std::move(found->second);
    transfers_.erase(found);
    return transfer;
}

void UpstreamPool::Impl::recycle(std::unique_ptr<Transfer> transfer)
{
    if (transfer->running()) {
        curl_multi_remove_handle(multi_, transfer->easy());
        if (transfer->gated()) {
            gates_[static_cast<size_t>(transfer->backend())].leave();
        }
    }
    if (transfer->reusable() && idle_.size() < kMaxIdleHandles) {
        transfer->clear();
        idle_.push_back(std::move(transfer));
    }
}

void UpstreamPool::Impl::cancel(uint64_t id)
{
    std::unique_ptr<Transfer> transfer = take_out(id);
    if (transfer == nullptr) {
        return;
    }
    if (in_curl_) {
        fatal("a transfer was destroyed inside a curl callback");
    }
    if (!transfer->running()) {
        bool refused = false;
        for (size_t i = 0; i < failed_.size() && !refused; i++) {
            refused = failed_[i].id == id;
        }
        BackendGate &gate = gates_[static_cast<size_t>(transfer->backend())];
        if (!refused && !gate.withdraw(*this, id)) {
            gate.leave();
        }
    }
    recycle(std::move(transfer));
}

void UpstreamPool::Impl::let_finish(uint64_t id)
{
    const std::unordered_map<uint64_t, std::unique_ptr<Transfer>>::iterator
        found = transfers_.find(id);
    if (found != transfers_.end() && !found->second->detach()) {
        cancel(id);
    }
}

void UpstreamPool::Impl::resume(uint64_t id)
{
    resumed_.push_back(id);
}

const Transfer *UpstreamPool::Impl::find(uint64_t id) const
{
    const std::unordered_map<uint64_t,
                             std::unique_ptr<Transfer>>::const_iterator found =
        transfers_.find(id);
    return found == transfers_.end() ? nullptr : found->second.get();
}

int UpstreamPool::Impl::timer_cb(CURLM *, long timeout_ms, void *arg) noexcept
{
    Impl *self = static_cast<Impl *>(arg);
    self->due_ = timeout_ms == 0;
    if (timeout_ms > 0) {
        self->timer_.arm(timeout_ms);
    } else {
        self->timer_.cancel();
    }
    return 0;
}

void UpstreamPool::Impl::on_timer(Timer &)
{
    act(CURL_SOCKET_TIMEOUT, 0);
}

void UpstreamPool::Impl::on_curl_socket(curl_socket_t fd, int mask)
{
    act(fd, mask);
}

void UpstreamPool::Impl::on_touched(Transfer &transfer)
{
    if (!transfer.touched) {
        transfer.touched = true;
        touched_.push_back(transfer.id());
    }
}

void UpstreamPool::Impl::act(curl_socket_t fd, int mask)
{
    int running = 0;
    in_curl_ = true;
    const CURLMcode code = curl_multi_socket_action(multi_, fd, mask, &running);
    in_curl_ = false;
    if (code != CURLM_OK) {
        log_error("upstream: curl_multi_socket_action: %s",
                  curl_multi_strerror(code));
        begin_anew();
        return;
    }
    after_action();
}

void UpstreamPool::Impl::collect_ended(std::vector<Ended> &ended)
{
    int left = 0;
    while (CURLMsg *message = curl_multi_info_read(multi_, &left)) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        // The message dies with the removal.
        CURL *easy = message->easy_handle;
        const CURLcode result = message->data.result;
        Transfer *transfer = nullptr;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
        TransferEnd end;
        if (transfer->finish(result, end)) {
            ended.push_back({transfer->id(), end});
        } else {
            curl_multi_remove_handle(multi_, easy);
            add_to_curl(*transfer);
        }
    }
}

void UpstreamPool::Impl::after_action()
{
    std::vector<Ended> ended;
    collect_ended(ended);
    // Owners may cancel any transfer from here on: only ids are kept.
    std::vector<uint64_t> touched;
    touched.swap(touched_);
    for (const uint64_t id : touched) {
        bool over = false;
        for (const Ended &e : ended) {
            over = over || e.id == id;
        }
        const std::unordered_map<uint64_t, std::unique_ptr<Transfer>>::iterator
            found = transfers_.find(id);
        if (found == transfers_.end()) {
            continue;
        }
        found->second->touched = false;
        if (!over && found->second->sink() != nullptr) {
            found->second->sink()->on_upstream_turn();
        }
    }
    for (const Ended &e : ended) {
        end(e.id, e.end);
    }
    touched.clear();
    if (touched_.empty()) {
        touched_.swap(touched); // keeps its memory
    }
}

void UpstreamPool::Impl::end(uint64_t id, const TransferEnd &end)
{
    // The transfer's numbers are asked for by the sink, so it is recycled
    // after it was told, and found by nobody else meanwhile.
    const std::unordered_map<uint64_t, std::unique_ptr<Transfer>>::iterator
        found = transfers_.find(id);
    if (found == transfers_.end()) {
        return;
    }
    TransferSink *sink = found->second->sink();
    if (sink != nullptr) {
        sink->on_upstream_end(end);
    }
    cancel(id); // unless the sink has destroyed it
}

void UpstreamPool::Impl::on_deadline(Transfer &transfer)
{
    const TransferEnd end_now = transfer.fail(transfer.deadline_fault());
    end(transfer.id(), end_now);
}

bool UpstreamPool::Impl::on_turn_end()
{
    std::vector<Ended> refused;
    refused.swap(failed_);
    for (const Ended &e : refused) {
        // Out of the map first: cancel() would ask the gate about it.
        std::unique_ptr<Transfer> transfer = take_out(e.id);
        if (transfer != nullptr) {
            transfer->sink()->on_upstream_end(e.end);
            recycle(std::move(transfer));
        }
    }
    std::vector<uint64_t> resumed;
    resumed.swap(resumed_);
    for (const uint64_t id : resumed) {
        const std::unordered_map<uint64_t, std::unique_ptr<Transfer>>::iterator
            found = transfers_.find(id);
        if (found != transfers_.end() && found->second->paused()) {
            in_curl_ = true; // it calls back before it returns
            const bool goes_on = found->second->resume();
            in_curl_ = false;
            after_action();
            if (!goes_on) {
                fail(id);
            }
        }
    }
    // Requests submitted in this turn go out now, without a turn of the loop
    // for curl's timer. Bounded: what is still due then takes the timer.
    for (int i = 0; due_ && i < 8; i++) {
        due_ = false;
        act(CURL_SOCKET_TIMEOUT, 0);
    }
    if (due_ || !failed_.empty() || !resumed_.empty()) {
        timer_.arm(0);
    }
    return false;
}

UpstreamPool::UpstreamPool(EventLoop &loop, BackendGate *gates)
    : impl_(std::make_unique<Impl>(loop, gates))
{
}

UpstreamPool::~UpstreamPool() = default;

std::unique_ptr<UpstreamTransfer>
UpstreamPool::submit(const BackendConfig &backend, UpstreamRequest request,
                     const TransferOptions &options, TransferSink &sink)
{
    const uint64_t id =
        impl_->submit(backend, std::move(request), options, sink);
    return std::unique_ptr<UpstreamTransfer>(new UpstreamTransfer(*this, id));
}

UpstreamTransfer::~UpstreamTransfer()
{
    pool_.impl_->cancel(id_);
}

void UpstreamTransfer::resume()
{
    pool_.impl_->resume(id_);
}

void UpstreamTransfer::let_finish(std::unique_ptr<UpstreamTransfer> transfer)
{
    if (transfer != nullptr) {
        transfer->pool_.impl_->let_finish(transfer->id_);
        transfer->id_ = 0;
    }
}

const TransferTimes &UpstreamTransfer::times() const
{
    static const TransferTimes none;
    const Transfer *transfer = pool_.impl_->find(id_);
    return transfer == nullptr ? none : transfer->times();
}

bool UpstreamTransfer::answering() const
{
    const Transfer *transfer = pool_.impl_->find(id_);
    return transfer != nullptr && transfer->times().head_ms != -1 &&
           transfer->request_sent();
}

bool UpstreamTransfer::reached() const
{
    const Transfer *transfer = pool_.impl_->find(id_);
    return transfer != nullptr && transfer->reached();
}

} // namespace llmproxy
