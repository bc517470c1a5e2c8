// One worker: accepts its share of the clients and owns all that serves them.
#include "worker.h"

#include "llm_proxy/base/log.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/prctl.h>
#include <sys/socket.h>

#include "process_clock.h"

namespace llmproxy
{

namespace
{

// A worker this many clients ahead of the least loaded lets others accept.
constexpr uint64_t kLead = 8;
constexpr int64_t kStepBackMs = 10;
// Who serves thousands comes back to the listener seldom.
constexpr int kAtOnce = 8;
// A flood of clients must not become a flood of lines.
constexpr int64_t kComplainMs = 1000;
// Out of descriptors or memory: trying at once again would only spin.
constexpr int64_t kExhaustedMs = 100;
// Clients over the limit that are still told so, with a 503.
constexpr uint64_t kTurnedAway = 256;

} // namespace

uint64_t WorkerLoads::least() const
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < workers; i++) {
        least = std::min(least, clients[i].load(std::memory_order_relaxed));
    }
    return least;
}

// One listening socket in this worker's loop.
class Worker::Acceptor final : private IoHandler, private TimerHandler
{
public:
    Acceptor(Worker &worker, int fd)
        : worker_(worker), fd_(fd),
          watch_(worker.loop_, fd, *this, Urgency::Soon),
          timer_(worker.loop_, *this)
    {
        watch_.want(true, false);
    }
    virtual ~Acceptor() = default;
    Acceptor(const Acceptor &) = delete;
    Acceptor &operator=(const Acceptor &) = delete;

    int socket() const { return fd_; }

    // A client that the kernel has let in has its answer to come.
    void accept_all()
    {
        for (int i = 0; i < kBacklog && accept_one(); i++) {
        }
    }

    // False with errno set if there was nobody, or no room.
    bool accept_one()
    {
        sockaddr_storage peer{};
        socklen_t length = sizeof(peer);
        Fd fd;
        do { // past those who have left already
            fd.reset(accept4(fd_, reinterpret_cast<sockaddr *>(&peer), &length,
                             SOCK_NONBLOCK | SOCK_CLOEXEC));
        } while (!fd.valid() &&
                 (errno == ECONNABORTED || errno == EINTR || errno == EPROTO));
        if (!fd.valid()) {
            return false;
        }
        worker_.accepted(std::move(fd),
                         peer_name(reinterpret_cast<const sockaddr *>(&peer)));
        return true;
    }

private:
    bool leads(uint64_t by) const
    {
        return worker_.loads_.clients[worker_.index_].load(
                   std::memory_order_relaxed) > worker_.loads_.least() + by;
    }

    void on_io(bool, bool) override
    {
        if (leads(kLead)) {
            step_back(kStepBackMs);
            return;
        }
        if (accept_one()) {
            accept_more();
            return;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
            errno == ENOMEM) {
            const int error = errno;
            worker_.complain(strerror(error));
            step_back(kExhaustedMs);
        }
        // Otherwise another worker was faster.
    }

    // As long as no other worker has fewer clients.
    void accept_more()
    {
        int taken = 1;
        while (taken < kAtOnce && !leads(0) && accept_one()) {
            taken++;
        }
        if (taken == kAtOnce) {
            step_back(0); // those who are served already come first
        }
    }

    void on_timer(Timer &) override { watch_.want(true, false); }

    void step_back(int64_t ms)
    {
        watch_.want(false, false);
        timer_.arm(ms);
    }

    Worker &worker_;
    int fd_;
    IoWatch watch_;
    Timer timer_;
};

Worker::Worker(ProcessState &process, WorkerLoads &loads, size_t index,
               std::shared_ptr<const Config> config,
               const std::vector<int> &sockets, std::function<void()> drained)
    : process_(process), loads_(loads), index_(index),
      drained_(std::move(drained)), read_buffer_(new ReadBuffer),
      helper_(loop_), resolver_(loop_), access_log_(loop_, process.access_log),
      pool_(loop_, process.gates), memory_limiter_(process.limits),
      redis_limiter_(make_redis_limiter(*config)),
      catalog_(loop_, helper_, pool_),
      details_(loop_, helper_, pool_, process.clock),
      context_{loop_,    helper_,           pool_,       limiter(),
               catalog_, details_,          access_log_, *read_buffer_,
               process,  std::move(config), {},          false,
               0}
{
    watch(sockets);
}

Worker::~Worker() = default;

std::unique_ptr<RedisLimiter> Worker::make_redis_limiter(const Config &config)
{
    return config.limit_store == LimitStore::Redis
               ? RedisLimiter::make(loop_, resolver_, process_.limits,
                                    process_.limit_store, config)
               : nullptr;
}

Limiter &Worker::limiter()
{
    if (redis_limiter_ != nullptr) {
        return *redis_limiter_;
    }
    return memory_limiter_;
}

void Worker::run()
{
    // For ps and top; the kernel takes 15 bytes.
    prctl(PR_SET_NAME, ("worker " + std::to_string(index_)).c_str());
    if (measures_turns()) {
        loop_.measure_turns();
    }
    loop_.run();
    if (measures_turns()) {
        log_notice("worker %zu: longest turn %lld us, round %lld us", index_,
                   static_cast<long long>(loop_.longest_turn_us()),
                   static_cast<long long>(loop_.longest_round_us()));
    }
    helper_.end(); // nothing is at work in what ends next
    tell_connections(&Connection::shut_down);
    process_.connections.fetch_sub(connections_.size());
    connections_.clear();
    loop_.free_buried(); // exchanges refer to context_, which goes first
    access_log_.flush();
}

void Worker::tell_connections(void (Connection::*what)())
{
    std::vector<Connection *> all;
    all.reserve(connections_.size());
    for (const auto &entry : connections_) {
        all.push_back(entry.second.get());
    }
    for (Connection *connection : all) {
        (connection->*what)(); // buried objects live to the turn's end
    }
}

void Worker::complain(const char *what)
{
    const int64_t now = loop_.now_ms();
    if (complained_ms_ == -1 || now - complained_ms_ >= kComplainMs) {
        complained_ms_ = now;
        log_error("cannot take clients: %s", what);
    }
}

void Worker::accepted(Fd fd, std::string peer)
{
    const uint64_t others = process_.connections.fetch_add(1);
    const uint64_t limit = context_.config->max_connections;
    if (others >= limit + kTurnedAway) {
        process_.connections.fetch_sub(1);
        complain("MAX_CONNECTIONS is reached");
        return;
    }
    loads_.clients[index_].fetch_add(1, std::memory_order_relaxed);
    const uint64_t id = ++last_connection_id_;
    ConnectionOwner &owner = *this;
    std::unique_ptr<Connection> connection = std::make_unique<Connection>(
        context_, owner, id, std::move(fd), std::move(peer));
    if (others >= limit) {
        complain("MAX_CONNECTIONS is reached");
        connection->turn_away();
    }
    connections_.emplace(id, std::move(connection));
}

void Worker::on_connection_closed(Connection &connection)
{
    const std::unordered_map<uint64_t, std::unique_ptr<Connection>>::iterator
        found = connections_.find(connection.id());
    if (found == connections_.end()) {
        return;
    }
    loop_.bury(std::move(found->second));
    connections_.erase(found);
    process_.connections.fetch_sub(1);
    loads_.clients[index_].fetch_sub(1, std::memory_order_relaxed);
    report_if_drained();
}

void Worker::report_if_drained()
{
    if (context_.closing && connections_.empty() && drained_ != nullptr) {
        std::function<void()> drained;
        drained.swap(drained_);
        drained();
    }
}

void Worker::set_config(const std::shared_ptr<const Config> &config)
{
    loop_.post([this, config] {
        context_.config = config;
        if (redis_limiter_ != nullptr) {
            redis_limiter_->configure(*config);
        }
    });
}

void Worker::watch(const std::vector<int> &sockets)
{
    std::vector<std::unique_ptr<Acceptor>> watched;
    for (const int socket : sockets) {
        const auto known = std::find_if(
            acceptors_.begin(), acceptors_.end(), [socket](const auto &each) {
                return each != nullptr && each->socket() == socket;
            });
        watched.push_back(known != acceptors_.end()
                              ? std::move(*known)
                              : std::make_unique<Acceptor>(*this, socket));
    }
    for (const std::unique_ptr<Acceptor> &left : acceptors_) {
        if (left != nullptr) {
            left->accept_all();
        }
    }
    acceptors_ = std::move(watched);
}

void Worker::listen_on(const std::vector<int> &sockets,
                       const std::function<void()> &done)
{
    loop_.post([this, sockets, done] {
        watch(sockets);
        done();
    });
}

void Worker::begin_drain(bool replaced, const std::function<void()> &closed)
{
    loop_.post([this, replaced, closed] {
        if (!replaced) {
            // Before those come in that have not asked yet.
            tell_connections(&Connection::drain);
        }
        if (!context_.closing) {
            context_.closing = true;
            if (replaced) {
                acceptors_.clear();
            } else {
                watch({});
            }
        }
        closed();
        report_if_drained();
    });
}

void Worker::shut_down()
{
    loop_.post([this] { tell_connections(&Connection::shut_down); });
}

void Worker::stop()
{
    loop_.post([this] { loop_.stop(); });
}

} // namespace llmproxy
