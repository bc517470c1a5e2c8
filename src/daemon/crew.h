#ifndef LLM_PROXY_SRC_DAEMON_CREW_H
#define LLM_PROXY_SRC_DAEMON_CREW_H

#include "llm_proxy/config/settings.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/proxy/worker_context.h"

#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "thread.h"
#include "worker.h"

namespace llmproxy
{

// All workers, each on its thread. The main thread's: what it hands in as a
// callback is called from its loop, once all workers have done their part.
class Crew
{
public:
    using Callback = std::function<void()>;

    // Both outlive the crew.
    Crew(EventLoop &loop, ProcessState &process)
        : loop_(loop), process_(process)
    {
    }
    ~Crew() { stop(); }
    Crew(const Crew &) = delete;
    Crew &operator=(const Crew &) = delete;

    // Once. `drained`: no worker has a client left after begin_drain().
    // False: the system refused a thread.
    [[nodiscard]] bool start(const std::shared_ptr<const Config> &config,
                             const std::vector<int> &sockets, Callback drained,
                             Error &err);
    size_t size() const { return workers_.size(); }

    void set_config(const std::shared_ptr<const Config> &config);
    // They accept from these and no others.
    void listen_on(const std::vector<int> &sockets, Callback done);
    void begin_drain(bool replaced, Callback doors_closed);
    void shut_down();
    // See Worker::ask().
    void ask(size_t worker, const WorkerQuestion &question,
             const WorkerAnswered &done)
    {
        workers_[worker]->ask(question, done);
    }
    // Each worker's loop has turned since.
    void ping(Callback answered);
    // Ends the loops and waits for the threads.
    void stop();

private:
    struct Wait {
        size_t missing = 0;
        Callback done;
    };
    // What each worker calls, on its own thread.
    Callback one_of(std::list<Wait>::iterator wait);
    Callback when_all(Callback done);

    EventLoop &loop_;
    ProcessState &process_;
    WorkerLoads loads_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::deque<Thread> threads_;
    std::list<Wait> waits_;
};

} // namespace llmproxy

#endif
