// bench_load: N keep-alive connections, each sending one fixed request again
// as soon as its answer is whole. After a warm-up it samples the time that the
// kernel counted for the proxy, counts answers and events for a while, samples
// again and prints one JSON line: what is counted and what it cost belong to
// the same window. Anything unexpected ends it without a number.

#include "llm_proxy/base/fd.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answer_reader.h"
#include "process_cost.h"
#include "wire.h"

namespace llmproxy
{

namespace
{

constexpr int64_t kNsPerMs = 1000000;
constexpr int64_t kSilenceNs = 5000 * kNsPerMs;

struct Options {
    uint16_t port = 0;
    uint64_t connections = 1;
    uint64_t ramp_ms = 0; // over which the first requests are spread
    uint64_t warmup_ms = 300;
    uint64_t window_ms = 1500;
    uint64_t max_answers = 2000000;
    pid_t pid = 0; // whose cost is sampled; 0 = none
    std::string request;
};

struct Client {
    Fd fd;
    size_t sent = 0;      // of the request
    bool blocked = false; // the kernel took only a part of it
    int64_t began_ns = 0;
    AnswerReader answer;
};

class Load
{
public:
    explicit Load(const Options &options);
    void run();

private:
    void open_next();
    void begin(Client &client);
    void send_request(Client &client);
    void receive(Client &client);
    // Handles what has happened until `until_ns`; false when the answers
    // have reached their limit.
    bool run_until(int64_t until_ns);
    uint64_t events() const;

    Options options_;
    Fd epoll_;
    std::vector<Client> clients_;
    size_t open_ = 0;
    int64_t start_ns_;
    int64_t last_byte_ns_;
    uint64_t bytes_ = 0;
    std::vector<int64_t> latencies_ns_; // of the answers in the window
    char buffer_[256 * 1024] = {};
};

Load::Load(const Options &options)
    : options_(options), epoll_(epoll_create1(EPOLL_CLOEXEC)),
      clients_(options.connections), start_ns_(now_ns()),
      last_byte_ns_(start_ns_)
{
}

void Load::open_next()
{
    size_t index = open_++;
    Client &client = clients_[index];
    client.fd.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(options_.port);
    int on = 1;
    int fd = client.fd.get();
    // Connecting on loopback does not wait for the other side's accept().
    if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) ==
            -1 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) == -1 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1) {
        die_errno("connection " + std::to_string(open_) +
                  " to 127.0.0.1:" + std::to_string(options_.port));
    }
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = index;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == -1) {
        die_errno("epoll_ctl");
    }
    begin(client);
}

void Load::begin(Client &client)
{
    client.sent = 0;
    client.began_ns = now_ns();
    send_request(client);
}

void Load::send_request(Client &client)
{
    ssize_t sent = send(client.fd.get(), options_.request.data() + client.sent,
                        options_.request.size() - client.sent, MSG_NOSIGNAL);
    if (sent == -1 && errno != EAGAIN) {
        die_errno("send");
    }
    client.sent += sent == -1 ? 0 : static_cast<size_t>(sent);
    bool blocked = client.sent < options_.request.size();
    if (blocked == client.blocked) {
        return;
    }
    client.blocked = blocked;
    epoll_event event = {};
    event.events = blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.u64 = static_cast<uint64_t>(&client - clients_.data());
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, client.fd.get(), &event);
}

void Load::receive(Client &client)
{
    ssize_t got = recv(client.fd.get(), buffer_, sizeof(buffer_), 0);
    if (got == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got == -1) {
        die_errno("recv");
    }
    if (got == 0) {
        die("connection closed before the end of an answer");
    }
    bytes_ += static_cast<uint64_t>(got);
    if (client.answer.feed({buffer_, static_cast<size_t>(got)})) {
        latencies_ns_.push_back(now_ns() - client.began_ns);
        begin(client);
    }
}

bool Load::run_until(int64_t until_ns)
{
    epoll_event events[256];
    for (int64_t now = now_ns(); now < until_ns; now = now_ns()) {
        int64_t wake_ns = until_ns;
        while (open_ < clients_.size()) {
            int64_t due =
                start_ns_ + static_cast<int64_t>(options_.ramp_ms * open_ /
                                                 clients_.size()) *
                                kNsPerMs;
            if (due > now) {
                wake_ns = std::min(wake_ns, due);
                break;
            }
            open_next();
        }
        int timeout_ms = static_cast<int>((wake_ns - now) / kNsPerMs) + 1;
        int count = epoll_wait(epoll_.get(), events, 256, timeout_ms);
        for (int i = 0; i < count; i++) {
            Client &client = clients_[events[i].data.u64];
            if ((events[i].events & EPOLLOUT) != 0) {
                send_request(client);
            }
            if ((events[i].events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) {
                receive(client);
            }
        }
        if (count > 0) {
            last_byte_ns_ = now;
        } else if (now - last_byte_ns_ > kSilenceNs) {
            die("no answer for 5 s");
        }
        if (latencies_ns_.size() >= options_.max_answers) {
            return false;
        }
    }
    return true;
}

uint64_t Load::events() const
{
    uint64_t sum = 0;
    for (const Client &client : clients_) {
        sum += client.answer.events();
    }
    return sum;
}

// The value below which `percent` of the sorted values lie.
uint64_t quantile(const std::vector<int64_t> &sorted, size_t percent)
{
    return sorted.empty() ? 0
                          : static_cast<uint64_t>(
                                sorted[(sorted.size() - 1) * percent / 100]);
}

void Load::run()
{
    run_until(start_ns_ +
              static_cast<int64_t>(options_.ramp_ms + options_.warmup_ms) *
                  kNsPerMs);
    latencies_ns_.clear();
    latencies_ns_.reserve(options_.max_answers);
    bytes_ = 0;
    uint64_t events_before = events();
    int64_t begin_ns = now_ns();
    ProcessCost before =
        options_.pid == 0 ? ProcessCost() : read_process_cost(options_.pid);
    run_until(begin_ns + static_cast<int64_t>(options_.window_ms) * kNsPerMs);
    ProcessCost after =
        options_.pid == 0 ? ProcessCost() : read_process_cost(options_.pid);
    int64_t window_ns = now_ns() - begin_ns;

    std::sort(latencies_ns_.begin(), latencies_ns_.end());
    const struct {
        const char *name;
        uint64_t value;
    } counted[] = {
        {"answers", latencies_ns_.size()},
        {"events", events() - events_before},
        {"bytes", bytes_},
        {"window_ns", static_cast<uint64_t>(window_ns)},
        {"cpu_ns", after.cpu_ns - before.cpu_ns},
        {"wait_ns", after.wait_ns - before.wait_ns},
        {"rss_anon_kib", after.rss_anon_kib},
        {"p50_ns", quantile(latencies_ns_, 50)},
        {"p99_ns", quantile(latencies_ns_, 99)},
    };
    std::string line;
    for (const auto &count : counted) {
        line += line.empty() ? "{\"" : ", \"";
        line += count.name;
        line += "\": " + std::to_string(count.value);
    }
    say(line + "}");
}

std::string read_all(const char *path)
{
    Fd fd(open(path, O_RDONLY | O_CLOEXEC));
    std::string text;
    char part[65536];
    for (;;) {
        ssize_t got = read(fd.get(), part, sizeof(part));
        if (got == -1) {
            die_errno(path);
        }
        if (got == 0) {
            return text;
        }
        text.append(part, static_cast<size_t>(got));
    }
}

Options read_options(int argc, char **argv)
{
    static const option options_known[] = {
        {"port", required_argument, nullptr, 'p'},
        {"request", required_argument, nullptr, 'r'},
        {"connections", required_argument, nullptr, 'c'},
        {"ramp-ms", required_argument, nullptr, 'a'},
        {"warmup-ms", required_argument, nullptr, 'w'},
        {"window-ms", required_argument, nullptr, 't'},
        {"max-answers", required_argument, nullptr, 'm'},
        {"pid", required_argument, nullptr, 'P'},
        {},
    };
    Options options;
    int letter = 0;
    int index = 0;
    while ((letter = getopt_long(argc, argv, "", options_known, &index)) !=
           -1) {
        const char *name = options_known[index].name;
        switch (letter) {
        case 'p':
            options.port =
                static_cast<uint16_t>(option_number(name, optarg, 1, 65535));
            break;
        case 'r':
            options.request = read_all(optarg);
            break;
        case 'c':
            options.connections = option_number(name, optarg, 1, 100000);
            break;
        case 'a':
            options.ramp_ms = option_number(name, optarg, 0, 600000);
            break;
        case 'w':
            options.warmup_ms = option_number(name, optarg, 0, 600000);
            break;
        case 't':
            options.window_ms = option_number(name, optarg, 1, 600000);
            break;
        case 'm':
            options.max_answers = option_number(name, optarg, 1, 100000000);
            break;
        case 'P':
            options.pid =
                static_cast<pid_t>(option_number(name, optarg, 1, 1 << 22));
            break;
        default:
            die("bench_load: its options are in tests/bench/load.cc");
        }
    }
    if (options.port == 0 || options.request.empty()) {
        die("bench_load: --port and --request (a file) are needed");
    }
    return options;
}

} // namespace

} // namespace llmproxy

int main(int argc, char **argv)
{
    // Too large for the stack.
    static llmproxy::Load load(llmproxy::read_options(argc, argv));
    load.run();
    return 0;
}
