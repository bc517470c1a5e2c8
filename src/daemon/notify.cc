// Words to the service manager.
#include "notify.h"

#include "llm_proxy/base/fd.h"
#include "llm_proxy/base/log.h"

#include <cerrno>
#include <cstddef>
#include <cstring>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "environment.h"

namespace llmproxy
{

Notify::Notify(const Environment &environment)
{
    const std::string name = text_in(environment, "NOTIFY_SOCKET");
    if (name.empty()) {
        return;
    }
    if ((name[0] != '/' && name[0] != '@') ||
        name.size() >= sizeof(sockaddr_un::sun_path)) {
        log_warning("NOTIFY_SOCKET=%s: not an address of a unix socket",
                    name.c_str());
        return;
    }
    address_ = name;
    if (name[0] == '@') {
        address_[0] = '\0';
    }
}

void Notify::send(std::string_view lines) const
{
    if (!wanted()) {
        return;
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, address_.data(), address_.size());
    // A path ends with a NUL, an abstract name where it is over.
    const size_t size = offsetof(sockaddr_un, sun_path) + address_.size() +
                        (address_[0] == '\0' ? 0 : 1);
    const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const timeval patience = {1, 0};
    if (!fd.valid() ||
        setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience,
                   sizeof(patience)) == -1 ||
        sendto(fd.get(), lines.data(), lines.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr *>(&address),
               static_cast<socklen_t>(size)) == -1) {
        log_warning("NOTIFY_SOCKET: %s", strerror(errno));
    }
}

} // namespace llmproxy
