// Sockets that the process was started with.
#include "inherited.h"

#include "llm_proxy/base/strings.h"

#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "environment.h"

namespace llmproxy
{

namespace
{

constexpr int kFirst = 3; // SD_LISTEN_FDS_START
constexpr const char *kParent = "LLM_PROXYD_PARENT";

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

bool is_listening(int fd)
{
    return option_of(fd, SO_TYPE) == SOCK_STREAM &&
           option_of(fd, SO_ACCEPTCONN) == 1;
}

bool take_inherited(const Environment &environment,
                    std::vector<InheritedSocket> &out, Error &err)
{
    const uint64_t parent = number_in(environment, kParent);
    if (parent != 0 && parent != static_cast<uint64_t>(getppid())) {
        err.message = std::string(kParent) +
                      ": the process that upgrades is not there any more";
        return false;
    }
    if (parent == 0 && number_in(environment, "LISTEN_PID") !=
                           static_cast<uint64_t>(getpid())) {
        return true;
    }
    std::vector<std::string> names =
        split_names(text_in(environment, "LISTEN_FDNAMES"));
    const uint64_t count = number_in(environment, "LISTEN_FDS");
    if (parent != 0) {
        // Libraries of the old process may have left some open.
        (void)syscall(SYS_close_range, kFirst + static_cast<unsigned>(count),
                      ~0U, 0U);
    }
    std::vector<InheritedSocket> sockets;
    for (uint64_t i = 0; i < count; i++) {
        const int fd = kFirst + static_cast<int>(i);
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1) {
            err.message =
                "LISTEN_FDS: descriptor " + std::to_string(fd) + " is not open";
            return false;
        }
        InheritedSocket socket;
        socket.fd = Fd(fd);
        socket.name = i < names.size() ? std::move(names[i]) : "";
        const bool is_ours = starts_with(socket.name, "=");
        if (is_ours && parent == 0) {
            err.message = "LISTEN_FDNAMES: " + socket.name +
                          " can be passed by llm-proxyd only";
            return false;
        }
        if ((!is_ours || starts_with(socket.name, kPassedListener)) &&
            !is_listening(fd)) {
            err.message = "LISTEN_FDS: descriptor " + std::to_string(fd) +
                          " is not a stream socket that listens";
            return false;
        }
        sockets.push_back(std::move(socket));
    }
    out = std::move(sockets);
    return true;
}

void pass_on(const std::vector<PassedSocket> &sockets, Environment &environment)
{
    std::string names;
    for (const PassedSocket &socket : sockets) {
        names += names.empty() ? "" : ":";
        names += socket.name;
    }
    environment.erase("LISTEN_PID");
    environment.erase("WATCHDOG_PID");
    environment["LISTEN_FDS"] = std::to_string(sockets.size());
    environment["LISTEN_FDNAMES"] = names;
    environment[kParent] = std::to_string(getpid());
}

Fd take_named(std::vector<InheritedSocket> &sockets, const char *name)
{
    Fd found;
    for (size_t i = 0; i < sockets.size(); i++) {
        if (sockets[i].name == name) {
            found = std::move(sockets[i].fd);
            sockets.erase(sockets.begin() + static_cast<ptrdiff_t>(i));
            break;
        }
    }
    return found;
}

std::string escape_name(const std::string &text)
{
    std::string out;
    for (const char c : text) {
        if (c == ':' || c == '%') {
            out += c == ':' ? "%3A" : "%25";
        } else {
            out += c;
        }
    }
    return out;
}

} // namespace llmproxy
