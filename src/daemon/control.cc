// The control socket itself: who is let in, and messages to the workers.
#include "control.h"

#include "llm_proxy/base/log.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <sys/socket.h>

#include "control_client.h"

namespace llmproxy
{

namespace
{

constexpr size_t kMostClients = 16;
constexpr int64_t kExhaustedMs = 100;

} // namespace

Control::Control(EventLoop &loop, ControlHost &host)
    : loop_(loop), host_(host), timer_(loop, *this)
{
}

Control::~Control()
{
    for (const Listener &listener : listeners_) {
        remove_file(listener);
    }
}

bool Control::open(const std::string &path, const Identity &identity,
                   bool take_over, ListenError &err)
{
    ListenAddress address;
    address.unix_path = take_over ? path + ".new" : path;
    address.text = "unix:" + address.unix_path;
    if (!open_listener(address, listeners_, err)) {
        return false;
    }
    if (identity.wanted) {
        give_file(listeners_.front(), identity.uid, identity.gid);
    }
    path_ = take_over ? path : "";
    return true;
}

void Control::begin()
{
    if (listeners_.empty()) {
        return;
    }
    Listener &listener = listeners_.front();
    if (!path_.empty()) {
        if (rename(listener.unix_path.c_str(), path_.c_str()) == -1) {
            log_error("CONTROL_SOCKET: cannot take %s over: %s", path_.c_str(),
                      strerror(errno));
        } else {
            listener.unix_path = path_;
        }
        path_.clear();
    }
    IoHandler &handler = *this;
    watch_ = std::make_unique<IoWatch>(loop_, listener.fd.get(), handler);
    watch_->want(true, false);
}

void Control::on_io(bool, bool)
{
    Fd fd(accept4(listeners_.front().fd.get(), nullptr, nullptr,
                  SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
            errno == ENOMEM) {
            watch_->want(false, false);
            timer_.arm(kExhaustedMs);
        }
        return;
    }
    make_room();
    const uint64_t id = ++last_id_;
    clients_.emplace(id, std::make_unique<Client>(*this, id, std::move(fd)));
    watch_->want(clients_.size() < kMostClients, false);
}

void Control::on_timer(Timer &)
{
    watch_->want(true, false);
}

// Who asks for nothing, or does not read, must not keep an operator out: the
// one that has been here longest goes.
void Control::make_room()
{
    if (clients_.size() + 1 < kMostClients) {
        return;
    }
    for (const auto &entry : clients_) {
        if (entry.second->keeps_waiting()) {
            forget(entry.first);
            return;
        }
    }
}

void Control::forget(uint64_t id)
{
    const auto found = clients_.find(id);
    if (found != clients_.end()) {
        loop_.bury(std::move(found->second));
        clients_.erase(found);
        watch_->want(true, false);
    }
}

void Control::ask(uint64_t client, uint64_t round, size_t first, size_t last,
                  const WorkerQuestion &question)
{
    EventLoop &loop = loop_;
    for (size_t i = first; i < last; i++) {
        host_.crew().ask(
            i, question, [this, &loop, client, round, i](WorkerAnswer answer) {
                loop.post([this, client, round, i, answer]() mutable {
                    on_answer(client, round, i, std::move(answer));
                });
            });
    }
}

void Control::on_answer(uint64_t client, uint64_t round, size_t worker,
                        WorkerAnswer answer)
{
    const auto found = clients_.find(client);
    if (found != clients_.end()) {
        found->second->on_worker_answer(round, worker, std::move(answer));
    }
}

} // namespace llmproxy
