// The transfers of one worker on their way through curl and back.
#include "upstream_pool_impl.h"

#include "llm_proxy/base/log.h"

#include <utility>

#include "curl_options.h"

namespace llmproxy
{

namespace
{

// Idle connections kept in all, and handles kept for the next requests.
constexpr long kMaxIdleConnections = 1024;
constexpr size_t kMaxIdleHandles = 256;

// nullptr for a handle of curl's own.
Transfer *transfer_of(CURL *easy)
{
    Transfer *transfer = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    return transfer;
}

// What was moved out of `list` lends it its memory for the next time.
template <typename List>
void keep_memory(List &used, List &list)
{
    used.clear();
    if (list.empty()) {
        list.swap(used);
    }
}

} // namespace

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
    for (const uint64_t id : transfers_.ids()) {
        const Transfer *transfer = transfers_.find(id);
        if (transfer->running()) {
            running.push_back(id);
            curl_multi_remove_handle(multi_, transfer->easy());
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
    for (const uint64_t id : transfers_.ids()) {
        cancel(id);
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
    Transfer &entered = *transfer;
    const uint64_t id = transfers_.put(std::move(transfer));
    entered.begin(id, backend, std::move(request), options, sink);
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
    Transfer *transfer = transfers_.find(id);
    if (transfer != nullptr) {
        add(*transfer);
    }
    // Otherwise cancel() found that the place had been given already and has
    // left the gate for it.
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
    std::unique_ptr<Transfer> transfer = transfers_.take(id);
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
    Transfer *transfer = transfers_.find(id);
    if (transfer != nullptr && !transfer->detach()) {
        cancel(id);
    }
}

void UpstreamPool::Impl::resume(uint64_t id)
{
    resumed_.push_back(id);
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

bool UpstreamPool::Impl::is_paused(CURL *easy) const
{
    const Transfer *transfer = transfer_of(easy);
    return transfer != nullptr && transfer->paused();
}

bool UpstreamPool::Impl::is_held(int local_port) const
{
    return transfers_.any([local_port](const Transfer &transfer) {
        return transfer.paused() && transfer.local_port() == local_port;
    });
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
    const bool refused = sockets_.take_refused();
    int left = 0;
    while (CURLMsg *message = curl_multi_info_read(multi_, &left)) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        Transfer *transfer = transfer_of(message->easy_handle);
        TransferEnd end;
        if (transfer->finish(message->data.result, end)) {
            if (refused && end.fault == TransferFault::Connect) {
                end.fault = TransferFault::Exhausted;
            }
            transfer->touched = false; // it is told of its end alone
            ended.push_back({transfer->id(), end});
        } else {
            curl_multi_remove_handle(multi_, transfer->easy());
            add_to_curl(*transfer);
        }
    }
}

void UpstreamPool::Impl::after_action()
{
    std::vector<Ended> ended;
    ended.swap(ended_);
    collect_ended(ended);
    // Owners may cancel any transfer from here on: only ids are kept.
    std::vector<uint64_t> touched;
    touched.swap(touched_);
    for (const uint64_t id : touched) {
        Transfer *transfer = transfers_.find(id);
        if (transfer == nullptr || !transfer->touched) {
            continue;
        }
        transfer->touched = false;
        if (transfer->sink() != nullptr) {
            transfer->sink()->on_upstream_turn();
        }
    }
    for (const Ended &e : ended) {
        end(e.id, e.end);
    }
    keep_memory(ended, ended_);
    keep_memory(touched, touched_);
}

void UpstreamPool::Impl::end(uint64_t id, const TransferEnd &end)
{
    // The transfer's numbers are asked for by the sink, so it is recycled
    // after it was told, and found by nobody else meanwhile.
    const Transfer *transfer = transfers_.find(id);
    if (transfer == nullptr) {
        return;
    }
    TransferSink *sink = transfer->sink();
    if (sink != nullptr) {
        sink->on_upstream_end(end);
    }
    cancel(id); // unless the sink has destroyed it
}

void UpstreamPool::Impl::on_deadline(Transfer &transfer)
{
    end(transfer.id(), transfer.fail(transfer.deadline_fault()));
}

// Behind the rest of a turn, so that what goes on brings no more in it than
// what it held back; one at least, so that all get on.
void UpstreamPool::Impl::go_on()
{
    const std::vector<uint64_t> resumed = std::exchange(resumed_, {});
    size_t done = 0;
    while (done < resumed.size() && (done == 0 || !loop_.turn_is_long())) {
        const uint64_t id = resumed[done++];
        Transfer *transfer = transfers_.find(id);
        if (transfer != nullptr && transfer->paused()) {
            in_curl_ = true; // it calls back before it returns
            const bool goes_on = transfer->resume();
            in_curl_ = false;
            after_action();
            if (!goes_on) {
                fail(id);
            }
        }
    }
    resumed_.insert(resumed_.begin(),
                    resumed.begin() + static_cast<ptrdiff_t>(done),
                    resumed.end());
}

bool UpstreamPool::Impl::on_turn_end()
{
    const std::vector<Ended> refused = std::exchange(failed_, {});
    for (const Ended &e : refused) {
        // Out of the table first: cancel() would ask the gate about it.
        std::unique_ptr<Transfer> transfer = transfers_.take(e.id);
        if (transfer != nullptr) {
            transfer->sink()->on_upstream_end(e.end);
            recycle(std::move(transfer));
        }
    }
    // Requests submitted in this turn go out now, without a turn of the loop
    // for curl's timer. Bounded: what is still due then takes the timer.
    for (int i = 0; due_ && i < 8; i++) {
        due_ = false;
        act(CURL_SOCKET_TIMEOUT, 0);
    }
    go_on();
    if (due_ || !failed_.empty() || !resumed_.empty()) {
        timer_.arm(0);
    }
    return false;
}

} // namespace llmproxy
