// bench_backend: a model server that does as little as possible for an answer,
// so that a benchmark measures the proxy in front of it, and stays awake for
// the next request (wire.h says why). One thread, keep-alive HTTP/1.1, answers
// rendered beforehand. It speaks enough of vLLM's and Ollama's wire for chat
// and parses only heads and Content-Length. Who asks for /closes is told of
// each stream whose reader leaves before its end: the time, in us of the wall
// clock, a line each.

#include "llm_proxy/base/fd.h"
#include "llm_proxy/base/strings.h"

#include <cerrno>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answers.h"
#include "stamp.h"
#include "wire.h"

namespace llmproxy
{

namespace
{

constexpr int64_t kNsPerMs = 1000000;
// So long after the last event it does not sleep, unless streams are paced or
// it is to take its time.
constexpr int64_t kAwakeNs = 100 * kNsPerMs;

struct Options {
    uint16_t port = 0;
    uint64_t pieces = 200;
    uint64_t paced_pieces = 100;
    uint64_t interval_ms = 50;
    uint64_t answer_ms = 0; // before each that is not paced; all wait
};

// A connection from a proxy.
struct Client {
    Fd fd;
    uint64_t serial = 0; // tells connections apart that had the same fd
    std::string in;
    std::string_view out; // what is not sent yet, of an answer or of `rest`
    std::string rest;     // of a piece, which is another's soon
    uint64_t pieces_left = 0;
    bool ollama = false; // whose pieces they are
};

// A stream's next piece. All streams have one interval, so a queue keeps the
// pieces in the order of their time.
struct Due {
    int64_t at_ns;
    int fd;
    uint64_t serial;
};

class Backend
{
public:
    explicit Backend(const Options &options);
    uint16_t port() const;
    [[noreturn]] void run();

private:
    void accept_all();
    void on_event(int fd, uint32_t events);
    void end(Client &client);
    bool send_piece(Client &client);
    // The three return false when the connection is to be closed.
    bool receive(Client &client);
    bool answer(Client &client, std::string_view head, std::string_view body);
    bool send_out(Client &client, std::string_view data);
    const std::string &pick(std::string_view target, std::string_view body,
                            bool &paced) const;
    // Sends what is due and returns epoll's next timeout.
    int send_due_pieces();

    Options options_;
    Answers answers_;
    Fd epoll_;
    Fd listener_;
    std::vector<std::unique_ptr<Client>> clients_; // by fd
    std::deque<Due> due_;
    int watcher_ = -1; // who asked for /closes
    uint64_t serial_ = 0;
    char buffer_[256 * 1024] = {};
};

bool has(std::string_view text, std::string_view what)
{
    return text.find(what) != std::string_view::npos;
}

Backend::Backend(const Options &options)
    : options_(options), answers_(options.pieces),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      listener_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
{
    int on = 1;
    setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(options.port);
    if (bind(listener_.get(), reinterpret_cast<sockaddr *>(&address),
             sizeof(address)) == -1 ||
        listen(listener_.get(), SOMAXCONN) == -1) {
        die_errno("127.0.0.1:" + std::to_string(options.port));
    }
    watch(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), EPOLLIN);
}

uint16_t Backend::port() const
{
    sockaddr_in address = {};
    socklen_t length = sizeof(address);
    getsockname(listener_.get(), reinterpret_cast<sockaddr *>(&address),
                &length);
    return ntohs(address.sin_port);
}

void Backend::run()
{
    epoll_event events[256];
    int timeout_ms = -1;
    int64_t sleepy_ns = 0;
    for (;;) {
        const bool awake =
            options_.answer_ms == 0 && due_.empty() && now_ns() < sleepy_ns;
        int count =
            wait_for_events(epoll_.get(), events, 256, timeout_ms, awake);
        if (count == -1 && errno != EINTR) {
            die_errno("epoll_wait");
        }
        if (count > 0) {
            sleepy_ns = now_ns() + kAwakeNs;
        }
        for (int i = 0; i < count; i++) {
            on_event(events[i].data.fd, events[i].events);
        }
        timeout_ms = send_due_pieces();
    }
}

void Backend::on_event(int fd, uint32_t events)
{
    if (fd == listener_.get()) {
        accept_all();
        return;
    }
    Client &client = *clients_[static_cast<size_t>(fd)];
    bool alive = true;
    if ((events & EPOLLOUT) != 0) {
        alive = send_out(client, client.out);
        if (alive && client.out.empty()) {
            watch(epoll_.get(), EPOLL_CTL_MOD, fd, EPOLLIN);
        }
    }
    if (alive && (events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) {
        alive = receive(client);
    }
    if (!alive) {
        end(client);
    }
}

void Backend::end(Client &client)
{
    const int fd = client.fd.get();
    if (fd == watcher_) {
        watcher_ = -1;
    } else if (client.pieces_left > 0 && watcher_ != -1) {
        const std::string line = std::to_string(wall_us()) + "\n";
        // The asker may have gone, too.
        static_cast<void>(
            send(watcher_, line.data(), line.size(), MSG_NOSIGNAL));
    }
    clients_[static_cast<size_t>(fd)].reset();
}

void Backend::accept_all()
{
    for (;;) {
        Fd fd(accept4(listener_.get(), nullptr, nullptr,
                      SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd.valid()) {
            if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR) {
                return;
            }
            die_errno("accept");
        }
        int on = 1;
        setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        size_t index = static_cast<size_t>(fd.get());
        if (clients_.size() <= index) {
            clients_.resize(index + 1);
        }
        watch(epoll_.get(), EPOLL_CTL_ADD, fd.get(), EPOLLIN);
        clients_[index] = std::make_unique<Client>();
        clients_[index]->fd = std::move(fd);
        clients_[index]->serial = ++serial_;
    }
}

bool Backend::receive(Client &client)
{
    ssize_t got = recv(client.fd.get(), buffer_, sizeof(buffer_), 0);
    if (got <= 0) {
        return got == -1 && (errno == EAGAIN || errno == EINTR);
    }
    client.in.append(buffer_, static_cast<size_t>(got));
    std::string_view in = client.in;
    size_t end = in.find("\r\n\r\n");
    if (end == std::string_view::npos) {
        return true;
    }
    std::string_view head = in.substr(0, end + 2);
    std::string_view body = in.substr(end + 4);
    uint64_t length = content_length(head, 0);
    if (body.size() < length) {
        return true;
    }
    // A proxy has no reason to send more before it has the answer.
    if (body.size() > length ||
        !header_value(head, "transfer-encoding").empty()) {
        die("a request that is pipelined or chunked:\n" + client.in);
    }
    bool alive = answer(client, head, body);
    client.in.clear();
    return alive;
}

const std::string &Backend::pick(std::string_view target, std::string_view body,
                                 bool &paced) const
{
    if (target == "/v1/chat/completions") {
        paced = has(body, "\"paced\"");
        if (paced) {
            return answers_.paced_head;
        }
        return has(body, "\"stream\":true") ? answers_.vllm_burst
                                            : answers_.vllm_chat;
    }
    if (target == "/api/chat") {
        // Ollama streams unless it is told not to.
        paced = has(body, "\"paced\"");
        if (paced) {
            return answers_.ollama_paced_head;
        }
        return has(body, "\"stream\":false") ? answers_.ollama_chat
                                             : answers_.ollama_burst;
    }
    if (target == "/api/embed") {
        return answers_.ollama_embed;
    }
    if (target == "/v1/models") {
        return answers_.vllm_models;
    }
    return target == "/api/tags" ? answers_.ollama_models : answers_.not_found;
}

bool Backend::answer(Client &client, std::string_view head,
                     std::string_view body)
{
    std::string_view target = head.substr(head.find(' ') + 1);
    target = target.substr(0, target.find(' '));
    if (target == "/closes") {
        watcher_ = client.fd.get();
        return true;
    }
    bool paced = false;
    const std::string &whole = pick(target, body, paced);
    if (paced) {
        client.pieces_left = options_.paced_pieces;
        client.ollama = target == "/api/chat";
        due_.push_back(
            {now_ns() + static_cast<int64_t>(options_.interval_ms) * kNsPerMs,
             client.fd.get(), client.serial});
    } else if (options_.answer_ms > 0) {
        usleep(static_cast<useconds_t>(options_.answer_ms * 1000));
    }
    return send_out(client, whole);
}

bool Backend::send_out(Client &client, std::string_view data)
{
    ssize_t sent =
        send(client.fd.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (sent == -1 && errno != EAGAIN) {
        return false;
    }
    bool waited = !client.out.empty();
    data.remove_prefix(sent == -1 ? 0 : static_cast<size_t>(sent));
    client.out = data;
    if (!data.empty() && !waited) {
        watch(epoll_.get(), EPOLL_CTL_MOD, client.fd.get(), EPOLLIN | EPOLLOUT);
    }
    return true;
}

bool Backend::send_piece(Client &client)
{
    if (client.pieces_left == 1) {
        client.pieces_left = 0;
        return send_out(client, client.ollama ? answers_.ollama_paced_end
                                              : answers_.paced_end);
    }
    client.pieces_left--;
    std::string &piece =
        client.ollama ? answers_.ollama_paced_piece : answers_.paced_piece;
    write_stamp(&piece[piece.find(kNoStamp[0])], wall_us());
    const bool alive = send_out(client, piece);
    if (!client.out.empty()) {
        client.rest = client.out;
        client.out = client.rest;
    }
    return alive;
}

int Backend::send_due_pieces()
{
    int64_t now = due_.empty() ? 0 : now_ns();
    while (!due_.empty()) {
        Due due = due_.front();
        if (due.at_ns > now) {
            return static_cast<int>((due.at_ns - now) / kNsPerMs) + 1;
        }
        due_.pop_front();
        Client *client = clients_[static_cast<size_t>(due.fd)].get();
        if (client == nullptr || client->serial != due.serial) {
            continue;
        }
        // A reader that is still busy with the last piece skips its turn.
        if (client->out.empty()) {
            if (!send_piece(*client)) {
                end(*client);
                continue;
            }
        }
        if (client->pieces_left > 0) {
            due.at_ns += static_cast<int64_t>(options_.interval_ms) * kNsPerMs;
            due_.push_back(due);
        }
    }
    return -1;
}

Options read_options(int argc, char **argv)
{
    static const option options_known[] = {
        {"port", required_argument, nullptr, 'p'},
        {"pieces", required_argument, nullptr, 'n'},
        {"paced-pieces", required_argument, nullptr, 'N'},
        {"interval-ms", required_argument, nullptr, 'i'},
        {"answer-ms", required_argument, nullptr, 'a'},
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
                static_cast<uint16_t>(option_number(name, optarg, 0, 65535));
            break;
        case 'n':
            options.pieces = option_number(name, optarg, 1, 100000);
            break;
        case 'N':
            options.paced_pieces = option_number(name, optarg, 1, 1000000);
            break;
        case 'i':
            options.interval_ms = option_number(name, optarg, 1, 60000);
            break;
        case 'a':
            options.answer_ms = option_number(name, optarg, 0, 999);
            break;
        default:
            die("usage: bench_backend [--port N] [--pieces N] "
                "[--paced-pieces N] [--interval-ms N] [--answer-ms N]");
        }
    }
    return options;
}

} // namespace

} // namespace llmproxy

int main(int argc, char **argv)
{
    // Too large for the stack, and it lives as long as the process.
    static llmproxy::Backend backend(llmproxy::read_options(argc, argv));
    llmproxy::say(std::to_string(backend.port()));
    backend.run();
}
