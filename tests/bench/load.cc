// bench_load: N keep-alive connections, each sending one fixed request again
// as soon as its answer is whole. After a warm-up it samples the time that the
// kernel counted for the proxy, counts answers and events for a while, samples
// again and prints one JSON line: what is counted and what it cost belong to
// the same window. Anything unexpected ends it without a number.
//
// With --awake it never sleeps, for connections that are busy all the time.
// With --timed it takes how long each piece of a paced stream was under way,
// and with --leave N it then leaves N streams, one after the other, and takes
// how long the backend, asked at --backend-port, did not know.

#include "llm_proxy/base/fd.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
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
#include "stamp.h"
#include "wire.h"

namespace llmproxy
{

namespace
{

constexpr int64_t kNsPerMs = 1000000;
constexpr int64_t kSilenceNs = 5000 * kNsPerMs;
constexpr int64_t kBetweenLeavesNs = 10 * kNsPerMs;
constexpr int64_t kLeaveNs = 1000 * kNsPerMs;
// Instead of a client's index.
constexpr uint64_t kBackend = UINT64_MAX;

struct Options {
    uint16_t port = 0;
    uint64_t connections = 1;
    uint64_t ramp_ms = 0; // over which the first requests are spread
    uint64_t warmup_ms = 300;
    uint64_t window_ms = 1500;
    uint64_t max_answers = 2000000;
    pid_t pid = 0; // whose cost is sampled; 0 = none
    bool awake = false;
    bool timed = false;
    uint64_t leave = 0;
    uint16_t backend_port = 0;
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
    void open(size_t index);
    void begin(Client &client);
    void send_request(Client &client);
    void receive(Client &client);
    // Handles what has happened until `until_ns`; false when the answers
    // have reached their limit.
    bool run_until(int64_t until_ns);
    void ask_for_closes();
    void receive_close();
    void leave_some();
    uint64_t events() const;

    Options options_;
    Fd epoll_;
    std::vector<Client> clients_;
    size_t open_ = 0;
    int64_t start_ns_;
    int64_t last_byte_ns_;
    uint64_t bytes_ = 0;
    std::vector<int64_t> latencies_ns_; // of the answers in the window
    std::vector<int64_t> holds_us_;     // of the pieces in the window
    Fd backend_;
    int64_t closed_us_ = 0; // when the backend saw the last one leave
    std::vector<int64_t> leaves_us_;
    char buffer_[256 * 1024] = {};
};

Load::Load(const Options &options)
    : options_(options), epoll_(epoll_create1(EPOLL_CLOEXEC)),
      clients_(options.connections), start_ns_(now_ns()),
      last_byte_ns_(start_ns_)
{
}

// Connecting on loopback does not wait for the other side's accept().
Fd connect_to(uint16_t port)
{
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const int on = 1;
    if (connect(fd.get(), reinterpret_cast<sockaddr *>(&address),
                sizeof(address)) == -1 ||
        fcntl(fd.get(), F_SETFL, O_NONBLOCK) == -1 ||
        setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1) {
        die_errno("connection to 127.0.0.1:" + std::to_string(port));
    }
    return fd;
}

void watch_as(int epoll, int fd, uint64_t index)
{
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = index;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == -1) {
        die_errno("epoll_ctl");
    }
}

void Load::open(size_t index)
{
    Client &client = clients_[index];
    client.fd = connect_to(options_.port);
    if (options_.timed) {
        note_arrivals(client.fd.get());
    }
    watch_as(epoll_.get(), client.fd.get(), index);
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
    int64_t arrived_us = 0;
    const ssize_t got =
        options_.timed ? receive_timed(client.fd.get(), buffer_,
                                       sizeof(buffer_), arrived_us)
                       : recv(client.fd.get(), buffer_, sizeof(buffer_), 0);
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
    std::string_view pieces(buffer_, static_cast<size_t>(got));
    for (int64_t sent_us = 0; options_.timed && take_stamp(pieces, sent_us);) {
        holds_us_.push_back(arrived_us - sent_us);
    }
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
            open(open_++);
        }
        int timeout_ms = static_cast<int>((wake_ns - now) / kNsPerMs) + 1;
        int count = wait_for_events(epoll_.get(), events, 256, timeout_ms,
                                    options_.awake);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 == kBackend) {
                receive_close();
                return true;
            }
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

void Load::ask_for_closes()
{
    constexpr std::string_view kAsked = "GET /closes HTTP/1.1\r\n\r\n";
    backend_ = connect_to(options_.backend_port);
    if (send(backend_.get(), kAsked.data(), kAsked.size(), MSG_NOSIGNAL) ==
        -1) {
        die_errno("/closes");
    }
    watch_as(epoll_.get(), backend_.get(), kBackend);
}

void Load::receive_close()
{
    const ssize_t got = recv(backend_.get(), buffer_, sizeof(buffer_), 0);
    uint64_t us = 0;
    if (got <= 0 || buffer_[got - 1] != '\n' ||
        !parse_u64({buffer_, static_cast<size_t>(got) - 1}, us)) {
        die("the backend does not say when one stream's reader left");
    }
    closed_us_ = static_cast<int64_t>(us);
}

// One at a time, so that it is known who it was; another comes instead.
void Load::leave_some()
{
    ask_for_closes();
    size_t index = 0;
    const int64_t last_ns =
        now_ns() + static_cast<int64_t>(options_.leave) * 2 * kLeaveNs;
    while (leaves_us_.size() < options_.leave) {
        if (now_ns() > last_ns) {
            die("the streams are too short to leave one");
        }
        run_until(now_ns() + kBetweenLeavesNs);
        index = (index + 1) % clients_.size();
        if (!clients_[index].answer.begun()) {
            continue;
        }
        closed_us_ = 0;
        const int64_t left_us = wall_us();
        clients_[index] = Client();
        const int64_t end_ns = now_ns() + kLeaveNs;
        while (closed_us_ == 0) {
            if (now_ns() > end_ns) {
                die("the backend does not see that a client has left");
            }
            run_until(end_ns);
        }
        leaves_us_.push_back(closed_us_ - left_us);
        open(index);
    }
}

uint64_t Load::events() const
{
    uint64_t sum = 0;
    for (const Client &client : clients_) {
        sum += client.answer.events();
    }
    return sum;
}

// The least value that `percent` of the sorted values do not exceed.
uint64_t quantile(const std::vector<int64_t> &sorted, size_t percent)
{
    return sorted.empty()
               ? 0
               : static_cast<uint64_t>(
                     sorted[(sorted.size() * percent + 99) / 100 - 1]);
}

void Load::run()
{
    run_until(start_ns_ +
              static_cast<int64_t>(options_.ramp_ms + options_.warmup_ms) *
                  kNsPerMs);
    latencies_ns_.clear();
    latencies_ns_.reserve(options_.max_answers);
    holds_us_.clear();
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
    std::sort(holds_us_.begin(), holds_us_.end());
    std::vector<std::pair<const char *, uint64_t>> counted = {
        {"answers", latencies_ns_.size()},
        {"events", events() - events_before},
        {"bytes", bytes_},
        {"window_ns", static_cast<uint64_t>(window_ns)},
        {"cpu_ns", after.cpu_ns - before.cpu_ns},
        {"wait_ns", after.wait_ns - before.wait_ns},
        {"rss_anon_kib", after.rss_anon_kib},
        {"p50_ns", quantile(latencies_ns_, 50)},
        {"p99_ns", quantile(latencies_ns_, 99)},
        {"holds", holds_us_.size()},
        {"hold_p99_us", quantile(holds_us_, 99)},
    };
    if (options_.leave > 0) {
        leave_some();
        std::sort(leaves_us_.begin(), leaves_us_.end());
        counted.emplace_back("leave_p99_us", quantile(leaves_us_, 99));
    }
    std::string line;
    for (const auto &[name, value] : counted) {
        line += line.empty() ? "{\"" : ", \"";
        line += name;
        line += "\": " + std::to_string(value);
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
        {"awake", no_argument, nullptr, 'A'},
        {"timed", no_argument, nullptr, 'T'},
        {"leave", required_argument, nullptr, 'l'},
        {"backend-port", required_argument, nullptr, 'b'},
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
        case 'A':
            options.awake = true;
            break;
        case 'T':
            options.timed = true;
            break;
        case 'l':
            options.leave = option_number(name, optarg, 1, 10000);
            break;
        case 'b':
            options.backend_port =
                static_cast<uint16_t>(option_number(name, optarg, 1, 65535));
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
