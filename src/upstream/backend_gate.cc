// The limit on requests in flight to one backend, shared by all workers.
#include "llm_proxy/upstream/backend_gate.h"

#include "llm_proxy/loop/event_loop.h"

#include <algorithm>

namespace llmproxy
{

void BackendGate::set_limits(uint64_t max_inflight, uint64_t max_waiting)
{
    const std::lock_guard<std::mutex> guard(lock_);
    max_inflight_ = max_inflight;
    max_waiting_ = max_waiting;
    admit_waiters();
}

BackendGate::Entry BackendGate::enter(GateClient &client, uint64_t id)
{
    const std::lock_guard<std::mutex> guard(lock_);
    if (max_inflight_ == 0 || inflight_ < max_inflight_) {
        inflight_++;
        return Entry::Entered;
    }
    if (waiting_.size() >= max_waiting_) {
        return Entry::Full;
    }
    waiting_.push_back({&client, id});
    return Entry::Waiting;
}

void BackendGate::leave()
{
    const std::lock_guard<std::mutex> guard(lock_);
    inflight_--;
    admit_waiters();
}

void BackendGate::admit_waiters()
{
    while (!waiting_.empty() &&
           (max_inflight_ == 0 || inflight_ < max_inflight_)) {
        const Waiter waiter = waiting_.front();
        waiting_.pop_front();
        inflight_++;
        waiter.client->gate_loop().post(
            [waiter] { waiter.client->on_gate_open(waiter.id); });
    }
}

bool BackendGate::withdraw(GateClient &client, uint64_t id)
{
    const std::lock_guard<std::mutex> guard(lock_);
    const std::deque<Waiter>::iterator found =
        std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiter &w) {
            return w.client == &client && w.id == id;
        });
    if (found == waiting_.end()) {
        return false;
    }
    waiting_.erase(found);
    return true;
}

BackendGate::Load BackendGate::load()
{
    const std::lock_guard<std::mutex> guard(lock_);
    return {inflight_, waiting_.size()};
}

} // namespace llmproxy
