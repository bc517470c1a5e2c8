#ifndef LLM_PROXY_UPSTREAM_CURL_SOCKETS_H
#define LLM_PROXY_UPSTREAM_CURL_SOCKETS_H

#include "llm_proxy/loop/event_loop.h"

#include <memory>
#include <utility>
#include <vector>

#include <curl/curl.h>

namespace llmproxy
{

class CurlSocketHandler
{
public:
    // `mask` of CURL_CSELECT_IN, _OUT. From the loop.
    virtual void on_curl_socket(curl_socket_t fd, int mask) = 0;
    // A transfer that wants no socket now, but goes on with the one it has.
    // From inside curl.
    virtual bool is_paused(CURL *easy) const = 0;
    // A paused transfer goes on with the connection of this local port. One
    // that is answered and pauses in its very first call never asked for its
    // socket, and curl tells its number to nobody. From the loop.
    virtual bool is_held(int local_port) const = 0;

protected:
    ~CurlSocketHandler() = default;
};

// Which of curl's sockets wait for what. A socket of ours that curl lets go
// stays armed: the next request on it then costs no epoll_ctl. It is taken
// out, and the connection made useless, when it becomes readable while nobody
// wants it: the backend has closed it, or has sent more than its answer.
// Sockets that curl makes for itself (its resolver) are closed behind our
// back, so they are taken out at once.
class CurlSockets
{
public:
    CurlSockets(EventLoop &loop, CurlSocketHandler &handler);
    CurlSockets(const CurlSockets &) = delete;
    CurlSockets &operator=(const CurlSockets &) = delete;

    ~CurlSockets();

    // False if libcurl refuses; the log says what.
    [[nodiscard]] bool install_multi(CURLM *multi);
    [[nodiscard]] bool install_easy(CURL *easy);
    // Whether the system has refused a socket since the last call.
    bool take_refused() { return std::exchange(refused_, false); }

private:
    class Watch;

    static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg,
                         void *socket_arg) noexcept;
    static curl_socket_t open_cb(void *arg, curlsocktype purpose,
                                 curl_sockaddr *address) noexcept;
    static int close_cb(void *arg, curl_socket_t fd) noexcept;
    Watch *find(curl_socket_t fd) const; // nullptr of one not watched
    Watch &watch(curl_socket_t fd, bool ours);
    void forget(curl_socket_t fd);
    void change(CURL *easy, curl_socket_t fd, int what);

    EventLoop &loop_;
    CurlSocketHandler &handler_;
    std::vector<std::unique_ptr<Watch>> watches_; // by fd
    bool refused_ = false;
};

} // namespace llmproxy

#endif
