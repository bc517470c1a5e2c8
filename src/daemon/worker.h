#ifndef LLM_PROXY_DAEMON_WORKER_H
#define LLM_PROXY_DAEMON_WORKER_H

#include "llm_proxy/limit/memory_limiter.h"
#include "llm_proxy/limit/redis_limiter.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/proxy/connection.h"
#include "llm_proxy/proxy/model_catalog.h"
#include "llm_proxy/proxy/model_details.h"
#include "llm_proxy/proxy/worker_context.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "helper_thread.h"
#include "listener.h"
#include "name_resolver.h"
#include "worker_report.h"

namespace llmproxy
{

constexpr size_t kMaxWorkers = 64;

// How many clients each worker has, so that they can share them evenly.
struct WorkerLoads {
    std::atomic<uint64_t> clients[kMaxWorkers] = {};
    size_t workers = 0;

    uint64_t least() const;
};

// One thread's closed world: loop, pool, limiter, catalog, connections. The
// supervisor constructs it and calls run() on a thread of its own; from then
// on only the calls marked "any thread" are for others.
class Worker final : private ConnectionOwner
{
public:
    // All references outlive the worker. `drained` is called on the worker's
    // thread, once, when begin_drain() has run out of clients.
    Worker(ProcessState &process, WorkerLoads &loads, size_t index,
           std::shared_ptr<const Config> config,
           const std::vector<int> &sockets, std::function<void()> drained);
    ~Worker();
    Worker(const Worker &) = delete;
    Worker &operator=(const Worker &) = delete;

    void run();

    // Any thread.
    void set_config(const std::shared_ptr<const Config> &config);
    // Accepts from these sockets and no others. From those that it leaves it
    // takes who is waiting; `done` is called then, on the worker's thread.
    void listen_on(const std::vector<int> &sockets,
                   const std::function<void()> &done);
    // Ends idle connections, takes who is waiting at the listeners, accepts
    // no more (`closed` is called then, on the worker's thread), and lets
    // running exchanges finish. Where another process takes the sockets over
    // (`replaced`) who waits there, and who is connected without a request, is
    // left alone: the next answer ends the connection.
    void begin_drain(bool replaced, const std::function<void()> &closed);
    // `answer` is called on the worker's thread, by its loop.
    void ping(const std::function<void()> &answer) { loop_.post(answer); }
    // Ends what still runs, with an error the client sees.
    void shut_down();
    // run() returns soon.
    void stop();
    // `done` is called on the worker's thread, once, unless the worker is
    // stuck or ends first.
    void ask(const WorkerQuestion &question, const WorkerAnswered &done);

private:
    class Acceptor;

    std::unique_ptr<RedisLimiter> make_redis_limiter(const Config &config);
    Limiter &limiter();
    void watch(const std::vector<int> &sockets);
    void accepted(Fd fd, std::string peer);
    // Into the error log, at most once a second.
    void complain(const char *what);
    void on_connection_closed(Connection &connection) override;
    void tell_connections(void (Connection::*what)());
    void report_if_drained();
    WorkerAnswer report(const WorkerQuestion &question);

    ProcessState &process_;
    WorkerLoads &loads_;
    size_t index_;
    std::function<void()> drained_;
    std::unique_ptr<ReadBuffer> read_buffer_;
    EventLoop loop_;
    HelperThread helper_;
    NameResolver resolver_;
    AccessLogBuffer access_log_;
    UpstreamPool pool_;
    MemoryLimiter memory_limiter_;
    std::unique_ptr<RedisLimiter> redis_limiter_; // or none
    ModelCatalog catalog_;
    ModelDetails details_;
    WorkerContext context_;
    std::vector<std::unique_ptr<Acceptor>> acceptors_;
    std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;
    uint64_t last_connection_id_ = 0;
    int64_t complained_ms_ = -1;
};

} // namespace llmproxy

#endif
