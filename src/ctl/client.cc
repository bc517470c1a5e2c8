// The way to the daemon: its socket, one line there, one answer back.
#include "client.h"

#include "llm_proxy/base/fd.h"
#include "llm_proxy/config/settings.h"
#include "llm_proxy/daemon/conventions.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

// A reload reads files and tokens of any length.
constexpr int kPatienceMs = 30'000;
constexpr size_t kMostAnswer = size_t{64} << 20;

bool fail(int code, const std::string &message, CtlError &err)
{
    err.code = code;
    err.message = message;
    return false;
}

bool cannot_connect(const std::string &path, CtlError &err)
{
    switch (errno) {
    case ENOENT:
        return fail(kExitUnavailable,
                    "nobody has the socket " + path +
                        ": is the daemon running, with CONTROL_SOCKET set?",
                    err);
    case ECONNREFUSED:
        return fail(kExitUnavailable,
                    "nobody answers at " + path + ": the daemon is not running",
                    err);
    case EACCES:
    case EPERM:
        return fail(kExitPermission,
                    path + ": permission denied: it is for the daemon's user "
                           "and group",
                    err);
    default:
        return fail(kExitUnavailable, path + ": " + strerror(errno), err);
    }
}

bool broken(CtlError &err)
{
    return fail(kExitUnavailable,
                std::string("the daemon broke the connection off: ") +
                    strerror(errno),
                err);
}

} // namespace

bool find_socket(const std::string &given, const std::string &config,
                 std::string &out, CtlError &err)
{
    if (!given.empty()) {
        out = given;
        return true;
    }
    std::string file = config;
    if (file.empty() && access(kDefaultConfig, F_OK) == 0) {
        file = kDefaultConfig;
    }
    Environment environment;
    // Called before anything else runs.
    // NOLINTNEXTLINE(concurrency-mt-unsafe)
    const char *set = getenv("CONTROL_SOCKET");
    if (set != nullptr && *set != '\0') {
        out = set; // it wins over the file, as for the daemon
        return true;
    }
    std::string found;
    Error why;
    if (!find_setting(file, environment, "CONTROL_SOCKET", found, why)) {
        return fail(kExitNoInput,
                    why.message + "; name the socket with -s instead", err);
    }
    if (found.empty() && !file.empty()) {
        return fail(kExitConfig,
                    "CONTROL_SOCKET is not set in " + file +
                        "; set it and restart the daemon, or name its socket "
                        "with -s",
                    err);
    }
    out = found.empty() ? kDefaultControlSocket : found;
    return true;
}

bool ask_daemon(const std::string &socket_path, const std::string &line,
                std::string &answer, CtlError &err)
{
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (socket_path.size() >= sizeof(name.sun_path)) {
        return fail(kExitUsage, socket_path + ": the path is too long", err);
    }
    memcpy(name.sun_path, socket_path.data(), socket_path.size());
    const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid() ||
        connect(fd.get(), reinterpret_cast<const sockaddr *>(&name),
                sizeof(name)) == -1) {
        return cannot_connect(socket_path, err);
    }
    const std::string request = line + "\n";
    if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
        return broken(err);
    }
    std::string text;
    char bytes[65536];
    for (;;) {
        pollfd wait = {fd.get(), POLLIN, 0};
        const int ready = poll(&wait, 1, kPatienceMs);
        if (ready == 0) {
            return fail(kExitUnavailable, "the daemon does not answer", err);
        }
        const ssize_t got =
            ready == 1 ? recv(fd.get(), bytes, sizeof bytes, 0) : -1;
        if (got == -1 && errno == EINTR) {
            continue;
        }
        if (got == -1) {
            return broken(err);
        }
        if (got == 0) {
            break;
        }
        text.append(bytes, static_cast<size_t>(got));
        if (text.size() > kMostAnswer) {
            return fail(kExitSoftware, "the answer is too long", err);
        }
    }
    if (text.empty()) {
        return fail(kExitUnavailable,
                    "the daemon closed the connection without an answer", err);
    }
    answer = text;
    return true;
}

} // namespace llmproxy
