// Sockets that the process was started with.
#include "inherited.h"

#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "environment.h"

namespace llmproxy
{

namespace
{

constexpr int kFirst = 3; // SD_LISTEN_FDS_START

int option_of(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

// "a::b" has three names.
std::vector<std::string> split_names(const std::string &text)
{
    std::vector<std::string> names(1);
    for (const char c : text) {
        if (c == ':') {
            names.emplace_back();
        } else {
            names.back() += c;
        }
    }
    return names;
}

} // namespace

bool take_inherited(const Environment &environment,
                    std::vector<InheritedSocket> &out, Error &err)
{
    if (number_in(environment, "LISTEN_PID") !=
        static_cast<uint64_t>(getpid())) {
        return true;
    }
    std::vector<std::string> names =
        split_names(text_in(environment, "LISTEN_FDNAMES"));
    const uint64_t count = number_in(environment, "LISTEN_FDS");
    std::vector<InheritedSocket> sockets;
    for (uint64_t i = 0; i < count; i++) {
        const int fd = kFirst + static_cast<int>(i);
        if (option_of(fd, SO_TYPE) != SOCK_STREAM ||
            option_of(fd, SO_ACCEPTCONN) != 1) {
            err.message = "LISTEN_FDS: descriptor " + std::to_string(fd) +
                          " is not a stream socket that listens";
            return false;
        }
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        InheritedSocket socket;
        socket.fd = Fd(fd);
        socket.name = i < names.size() ? std::move(names[i]) : "";
        sockets.push_back(std::move(socket));
    }
    out = std::move(sockets);
    return true;
}

} // namespace llmproxy
