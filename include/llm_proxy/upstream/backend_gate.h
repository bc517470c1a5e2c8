#ifndef LLM_PROXY_UPSTREAM_BACKEND_GATE_H
#define LLM_PROXY_UPSTREAM_BACKEND_GATE_H

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>

namespace llmproxy
{

class EventLoop;

// A worker's pool, as a gate sees it.
class GateClient
{
public:
    // A place was given to the waiter `id`, on the client's own loop. The
    // client either uses it or leaves the gate at once.
    virtual void on_gate_open(uint64_t id) = 0;
    virtual EventLoop &gate_loop() = 0;

protected:
    ~GateClient() = default;
};

// How many requests one backend has at a time, over all workers, and who
// waits for a place: first in, first out. Lives as long as the process; any
// thread.
class BackendGate
{
public:
    // A raised limit lets waiters in.
    void set_limits(uint64_t max_inflight, uint64_t max_waiting);

    enum class Entry { Entered, Waiting, Full };
    Entry enter(GateClient &client, uint64_t id);
    // A place is free again; the first waiter gets it.
    void leave();
    // The waiter gave up. False if it has been given a place meanwhile: then
    // on_gate_open() is on its way, and gives the place back.
    bool withdraw(GateClient &client, uint64_t id);

    struct Load {
        uint64_t inflight = 0;
        uint64_t waiting = 0;
    };
    Load load();

private:
    struct Waiter {
        GateClient *client;
        uint64_t id;
    };
    void admit_waiters();

    std::mutex lock_;           // guards everything below
    uint64_t max_inflight_ = 0; // 0 = unlimited
    uint64_t max_waiting_ = 0;
    uint64_t inflight_ = 0;
    std::deque<Waiter> waiting_;
};

} // namespace llmproxy

#endif
