// The set of listening sockets, and how it changes while the daemon serves.
#include "listeners.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <utility>

namespace llmproxy
{

namespace
{

bool has_address(const std::vector<Listener> &listeners,
                 const std::string &address)
{
    return std::any_of(listeners.begin(), listeners.end(),
                       [&address](const Listener &listener) {
                           return listener.address == address;
                       });
}

constexpr const char *kForClients = "http";
constexpr std::string_view kUnix = "unix:";

// What systemd calls a socket that nothing was said of is its unit's name.
bool is_for_clients(const std::string &name)
{
    return name.empty() || name == kForClients || name == "unknown" ||
           ends_with(name, ".socket");
}

void close_all(std::vector<Listener> &listeners)
{
    for (const Listener &listener : listeners) {
        remove_file(listener);
    }
    listeners.clear();
}

} // namespace

Listeners::~Listeners()
{
    close_all(used_);
    close_all(opened_);
    for (Left &left : left_) {
        close_all(left.listeners);
    }
}

bool Listeners::inherit(std::vector<InheritedSocket> &sockets, Error &err)
{
    for (InheritedSocket &socket : sockets) {
        if (starts_with(socket.name, kPassedListener)) {
            Listener listener = inherited_listener(std::move(socket.fd));
            if (!percent_decode(
                    std::string_view(socket.name)
                        .substr(std::string_view(kPassedListener).size()),
                    listener.address)) {
                err.message = "LISTEN_FDNAMES: cannot be read";
                return false;
            }
            listener.lent = true;
            if (starts_with(listener.address, kUnix)) {
                listener.unix_path = listener.address.substr(kUnix.size());
            }
            lent_.push_back(std::move(listener));
            continue;
        }
        if (!is_for_clients(socket.name)) {
            err.message =
                "LISTEN_FDNAMES: nothing is known of a socket named " +
                socket.name + ": it may be http";
            return false;
        }
        inherited_.push_back(inherited_listener(std::move(socket.fd)));
    }
    sockets.clear();
    return true;
}

bool Listeners::open(const std::vector<ListenAddress> &wanted, ListenError &err)
{
    wanted_.clear();
    if (!inherited_.empty()) {
        return true;
    }
    for (const ListenAddress &address : wanted) {
        wanted_.push_back(address.text);
        if (!has_address(used_, address.text) &&
            !has_address(opened_, address.text) && !take_lent(address.text) &&
            !open_listener(address, opened_, err)) {
            forget_opened();
            return false;
        }
    }
    return true;
}

// A host name may have several.
bool Listeners::take_lent(const std::string &address)
{
    bool found = false;
    for (size_t i = 0; i < lent_.size();) {
        if (lent_[i].address == address) {
            opened_.push_back(std::move(lent_[i]));
            lent_.erase(lent_.begin() + static_cast<ptrdiff_t>(i));
            found = true;
        } else {
            i++;
        }
    }
    return found;
}

std::vector<PassedSocket> Listeners::to_pass() const
{
    std::vector<PassedSocket> all;
    all.reserve(inherited_.size() + used_.size());
    for (const Listener &listener : inherited_) {
        all.push_back({listener.fd.get(), kForClients});
    }
    for (const Listener &listener : used_) {
        all.push_back({listener.fd.get(),
                       kPassedListener + escape_name(listener.address)});
    }
    return all;
}

void Listeners::lend()
{
    for (Listener &listener : used_) {
        listener.lent = true;
    }
}

void Listeners::own()
{
    for (std::vector<Listener> *all : {&used_, &opened_, &lent_}) {
        for (Listener &listener : *all) {
            if (listener.lent) {
                listener.lent = false;
                listener.unix_inode = inode_of(listener.unix_path);
            }
        }
    }
    close_all(lent_); // the settings have changed since
}

void Listeners::forget_opened()
{
    close_all(opened_);
}

uint64_t Listeners::use()
{
    if (!accepting_) {
        for (const Listener &listener : inherited_) {
            log_notice("listening on %s, bound by the service manager",
                       listener.name.c_str());
        }
    }
    accepting_ = true;
    std::vector<Listener> kept;
    std::vector<Listener> left;
    for (Listener &listener : used_) {
        const bool is_wanted = std::find(wanted_.begin(), wanted_.end(),
                                         listener.address) != wanted_.end();
        if (!is_wanted) {
            log_notice("no longer listening on %s", listener.name.c_str());
        }
        (is_wanted ? kept : left).push_back(std::move(listener));
    }
    for (Listener &listener : opened_) {
        log_notice("listening on %s", listener.name.c_str());
        kept.push_back(std::move(listener));
    }
    opened_.clear();
    used_ = std::move(kept);
    return leave(std::move(left));
}

uint64_t Listeners::use_none()
{
    accepting_ = false;
    return leave(std::exchange(used_, {}));
}

uint64_t Listeners::leave(std::vector<Listener> listeners)
{
    left_.push_back({++last_number_, std::move(listeners)});
    return last_number_;
}

void Listeners::close_left(uint64_t number)
{
    for (size_t i = 0; i < left_.size(); i++) {
        if (left_[i].number == number) {
            close_all(left_[i].listeners);
            left_.erase(left_.begin() + static_cast<ptrdiff_t>(i));
            return;
        }
    }
}

std::vector<int> Listeners::descriptors() const
{
    std::vector<int> all;
    for (const Listener &listener : inherited_) {
        if (accepting_) {
            all.push_back(listener.fd.get());
        }
    }
    for (const Listener &listener : used_) {
        all.push_back(listener.fd.get());
    }
    return all;
}

std::vector<std::string> Listeners::names() const
{
    std::vector<std::string> all;
    all.reserve(used_.size());
    for (const Listener &listener : used_) {
        all.push_back(listener.name);
    }
    return all;
}

void Listeners::give_files(const Identity &identity) const
{
    for (const Listener &listener : opened_) {
        if (identity.wanted) {
            give_file(listener, identity.uid, identity.gid);
        }
    }
}

} // namespace llmproxy
