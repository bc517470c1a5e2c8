// Listening sockets: TCP and unix.
#include "listener.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/daemon/conventions.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

bool fail(const ListenAddress &address, const char *what, ListenError &err)
{
    err.code = errno;
    err.message = "cannot listen on " + address.text + ": " + what + ": " +
                  strerror(err.code);
    if (err.code == EACCES && address.unix_path.empty()) {
        err.message += "; a port this low takes CAP_NET_BIND_SERVICE";
    }
    return false;
}

// Removes a socket file that a dead process left behind.
bool remove_stale(const ListenAddress &address, const sockaddr_un &name,
                  ListenError &err)
{
    struct stat info;
    if (lstat(address.unix_path.c_str(), &info) == -1) {
        return true;
    }
    if (!S_ISSOCK(info.st_mode)) {
        errno = EEXIST;
        return fail(address, "not a socket", err);
    }
    // Somebody whose backlog is full is there, too.
    const Fd probe(
        socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!probe.valid()) {
        return fail(address, "socket", err);
    }
    if (connect(probe.get(), reinterpret_cast<const sockaddr *>(&name),
                sizeof(name)) == 0 ||
        errno != ECONNREFUSED) {
        errno = EADDRINUSE;
        return fail(address, "bind", err);
    }
    unlink(address.unix_path.c_str());
    return true;
}

bool open_unix(const ListenAddress &address, std::vector<Listener> &out,
               ListenError &err)
{
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (address.unix_path.size() >= sizeof(name.sun_path)) {
        errno = ENAMETOOLONG;
        return fail(address, "path", err);
    }
    memcpy(name.sun_path, address.unix_path.data(), address.unix_path.size());
    if (!remove_stale(address, name, err)) {
        return false;
    }
    Listener listener;
    listener.address = address.text;
    listener.fd =
        Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    // Nobody but the owner and its group gets in, from the first moment on.
    const mode_t old_mask = umask(0117);
    const int bound =
        listener.fd.valid()
            ? bind(listener.fd.get(), reinterpret_cast<const sockaddr *>(&name),
                   sizeof(name))
            : -1;
    umask(old_mask);
    if (bound == -1 || listen(listener.fd.get(), kBacklog) == -1) {
        return fail(address, "bind", err);
    }
    listener.name = address.text;
    listener.unix_path = address.unix_path;
    listener.unix_inode = inode_of(address.unix_path);
    out.push_back(std::move(listener));
    return true;
}

// What every accepted socket inherits.
void prepare_tcp(int fd)
{
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
}

std::string socket_name(int fd)
{
    sockaddr_storage bound{};
    socklen_t length = sizeof(bound);
    getsockname(fd, reinterpret_cast<sockaddr *>(&bound), &length);
    if (bound.ss_family == AF_UNIX) {
        const sockaddr_un *name = reinterpret_cast<const sockaddr_un *>(&bound);
        return "unix:" +
               std::string(name->sun_path,
                           strnlen(name->sun_path, sizeof(name->sun_path)));
    }
    return peer_name(reinterpret_cast<const sockaddr *>(&bound));
}

bool open_tcp(const ListenAddress &address, const addrinfo &info,
              std::vector<Listener> &out, ListenError &err)
{
    Listener listener;
    listener.address = address.text;
    listener.fd = Fd(
        socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!listener.fd.valid()) {
        return fail(address, "socket", err);
    }
    const int one = 1;
    setsockopt(listener.fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (info.ai_family == AF_INET6) {
        setsockopt(listener.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one,
                   sizeof(one));
    }
    prepare_tcp(listener.fd.get());
    if (bind(listener.fd.get(), info.ai_addr, info.ai_addrlen) == -1) {
        return fail(address, "bind", err);
    }
    if (listen(listener.fd.get(), kBacklog) == -1) {
        return fail(address, "listen", err);
    }
    listener.name = socket_name(listener.fd.get());
    out.push_back(std::move(listener));
    return true;
}

} // namespace

int exit_code(const ListenError &err)
{
    return err.code == EACCES || err.code == EPERM ? kExitPermission : kExitOs;
}

bool open_listener(const ListenAddress &address, std::vector<Listener> &out,
                   ListenError &err)
{
    if (!address.unix_path.empty()) {
        return open_unix(address, out, err);
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo *found = nullptr;
    const int code =
        getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(),
                    &hints, &found);
    if (code != 0) {
        err.message =
            "cannot listen on " + address.text + ": " + gai_strerror(code);
        return false;
    }
    const size_t before = out.size();
    bool ok = true;
    for (const addrinfo *info = found; ok && info != nullptr;
         info = info->ai_next) {
        // "localhost" names ::1 as well where IPv6 is off.
        ok = open_tcp(address, *info, out, err) || err.code == EAFNOSUPPORT ||
             err.code == EADDRNOTAVAIL;
    }
    freeaddrinfo(found);
    return ok && out.size() > before;
}

uint64_t inode_of(const std::string &path)
{
    struct stat info = {};
    return lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

Listener inherited_listener(Fd fd)
{
    Listener listener;
    listener.name = socket_name(fd.get());
    if (!starts_with(listener.name, "unix:")) {
        prepare_tcp(fd.get());
    }
    fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    listener.fd = std::move(fd);
    return listener;
}

void remove_file(const Listener &listener)
{
    struct stat info = {};
    if (!listener.lent && !listener.unix_path.empty() &&
        lstat(listener.unix_path.c_str(), &info) == 0 &&
        S_ISSOCK(info.st_mode) && info.st_ino == listener.unix_inode) {
        unlink(listener.unix_path.c_str());
    }
}

void give_file(const Listener &listener, uid_t uid, gid_t gid)
{
    if (!listener.unix_path.empty() &&
        lchown(listener.unix_path.c_str(), uid, gid) == -1) {
        log_warning("%s: cannot be given to user %u: %s",
                    listener.unix_path.c_str(), static_cast<unsigned>(uid),
                    strerror(errno));
    }
}

std::string peer_name(const sockaddr *address)
{
    char host[INET6_ADDRSTRLEN] = "";
    char text[INET6_ADDRSTRLEN + 16];
    if (address->sa_family == AF_INET) {
        const sockaddr_in *in = reinterpret_cast<const sockaddr_in *>(address);
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        (void)snprintf(text, sizeof(text), "%s:%u", host, ntohs(in->sin_port));
        return text;
    }
    if (address->sa_family == AF_INET6) {
        const sockaddr_in6 *in6 =
            reinterpret_cast<const sockaddr_in6 *>(address);
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        (void)snprintf(text, sizeof(text), "[%s]:%u", host,
                       ntohs(in6->sin6_port));
        return text;
    }
    return "unix";
}

} // namespace llmproxy
