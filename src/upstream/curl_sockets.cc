// Between curl's socket interface and the loop's watches.
#include "curl_sockets.h"

#include "llm_proxy/base/log.h"

#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "curl_options.h"

namespace llmproxy
{

class CurlSockets::Watch final : private IoHandler
{
public:
    Watch(CurlSockets &owner, curl_socket_t fd, bool is_ours)
        : owner_(owner), fd_(fd), ours_(is_ours), io_(owner.loop_, fd, *this)
    {
    }

    void want(int what)
    {
        wanted_ = what != CURL_POLL_REMOVE;
        if (wanted_) {
            io_.want((what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0);
        } else {
            // Writable is almost always true: leaving that armed would spin.
            io_.want(io_.wants_read(), false);
        }
    }

    // 0 of one that has none.
    int local_port() const
    {
        sockaddr_storage address = {};
        socklen_t size = sizeof(address);
        if (getsockname(fd_, reinterpret_cast<sockaddr *>(&address), &size) !=
            0) {
            return 0;
        }
        // sin6_port lies where sin_port does.
        return ntohs(reinterpret_cast<sockaddr_in *>(&address)->sin_port);
    }

    // libcurl 7.88 would take what an idle connection holds for the answer to
    // the next request. It must find an end there to see that it is dead.
    void spoil()
    {
        shutdown(fd_, SHUT_RDWR);
        char scratch[4096];
        while (recv(fd_, scratch, sizeof(scratch), MSG_DONTWAIT) > 0) {
        }
    }

    // Its transfer is over: has the backend sent more than the answer?
    void settle()
    {
        char byte = 0;
        if (recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != -1) {
            spoil();
        }
    }

    void on_io(bool readable, bool writable) override
    {
        if (!wanted_) {
            io_.want(false, false);
            if (!owner_.handler_.is_held(local_port())) {
                spoil();
            }
            return;
        }
        owner_.handler_.on_curl_socket(fd_,
                                       (readable ? CURL_CSELECT_IN : 0) |
                                           (writable ? CURL_CSELECT_OUT : 0));
        // *this may be gone.
    }

    bool ours() const { return ours_; }

private:
    CurlSockets &owner_;
    curl_socket_t fd_;
    bool ours_;
    bool wanted_ = false;
    IoWatch io_;
};

CurlSockets::CurlSockets(EventLoop &loop, CurlSocketHandler &handler)
    : loop_(loop), handler_(handler)
{
}

CurlSockets::~CurlSockets() = default;

bool CurlSockets::install_multi(CURLM *multi)
{
    return set_option(multi, CURLMOPT_SOCKETFUNCTION, socket_cb) &&
           set_option(multi, CURLMOPT_SOCKETDATA, this);
}

bool CurlSockets::install_easy(CURL *easy)
{
    return set_option(easy, CURLOPT_OPENSOCKETFUNCTION, open_cb) &&
           set_option(easy, CURLOPT_OPENSOCKETDATA, this) &&
           set_option(easy, CURLOPT_CLOSESOCKETFUNCTION, close_cb) &&
           set_option(easy, CURLOPT_CLOSESOCKETDATA, this);
}

int CurlSockets::socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg,
                           void *) noexcept
{
    static_cast<CurlSockets *>(arg)->change(easy, fd, what);
    // Anything but 0 would end every transfer of the multi handle.
    return 0;
}

CurlSockets::Watch *CurlSockets::find(curl_socket_t fd) const
{
    const size_t at = static_cast<size_t>(fd);
    return fd >= 0 && at < watches_.size() ? watches_[at].get() : nullptr;
}

CurlSockets::Watch &CurlSockets::watch(curl_socket_t fd, bool ours)
{
    const size_t at = static_cast<size_t>(fd);
    if (at >= watches_.size()) {
        watches_.resize(at + 1);
    }
    watches_[at] = std::make_unique<Watch>(*this, fd, ours);
    return *watches_[at];
}

void CurlSockets::forget(curl_socket_t fd)
{
    if (find(fd) != nullptr) {
        watches_[static_cast<size_t>(fd)].reset();
    }
}

void CurlSockets::change(CURL *easy, curl_socket_t fd, int what)
{
    Watch *found = find(fd);
    if (what == CURL_POLL_REMOVE && (found == nullptr || !found->ours())) {
        forget(fd);
        return;
    }
    Watch &watched = found != nullptr ? *found : watch(fd, false);
    watched.want(what);
    if (what == CURL_POLL_REMOVE && !handler_.is_paused(easy)) {
        watched.settle();
    }
}

curl_socket_t CurlSockets::open_cb(void *arg, curlsocktype,
                                   curl_sockaddr *address) noexcept
{
    CurlSockets *sockets = static_cast<CurlSockets *>(arg);
    // libcurl 7.88 opens its sockets without SOCK_CLOEXEC by itself.
    const int fd = socket(address->family,
                          address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                          address->protocol);
    if (fd == -1) {
        sockets->refused_ = true;
        log_error("upstream: socket: %s", strerror(errno));
        return CURL_SOCKET_BAD;
    }
    sockets->watch(fd, true);
    return fd;
}

int CurlSockets::close_cb(void *arg, curl_socket_t fd) noexcept
{
    // The watch first: epoll must forget the number before it is reused.
    static_cast<CurlSockets *>(arg)->forget(fd);
    return close(fd);
}

} // namespace llmproxy
