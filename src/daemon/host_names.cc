// What the system knows of a host's name.
#include "host_names.h"

#include <utility>

#include <netdb.h>
#include <sys/socket.h>

namespace llmproxy
{

bool ask_system(const std::string &host, std::vector<std::string> &out,
                Error &err)
{
    addrinfo wanted = {};
    wanted.ai_socktype = SOCK_STREAM;
    addrinfo *list = nullptr;
    const int code = getaddrinfo(host.c_str(), nullptr, &wanted, &list);
    if (code != 0) {
        err.message = host + ": " + gai_strerror(code);
        return false;
    }
    std::vector<std::string> found;
    for (const addrinfo *one = list; one != nullptr; one = one->ai_next) {
        char text[NI_MAXHOST];
        if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text,
                        nullptr, 0, NI_NUMERICHOST) == 0) {
            found.emplace_back(text);
        }
    }
    freeaddrinfo(list);
    if (found.empty()) {
        err.message = host + " has no address";
        return false;
    }
    out = std::move(found);
    return true;
}

} // namespace llmproxy
