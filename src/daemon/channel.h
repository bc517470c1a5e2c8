#ifndef LLM_PROXY_SRC_DAEMON_CHANNEL_H
#define LLM_PROXY_SRC_DAEMON_CHANNEL_H

#include "llm_proxy/base/fd.h"
#include "llm_proxy/loop/event_loop.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace llmproxy
{

class Channel;

class ChannelHandler
{
public:
    // From the loop; a line without its end.
    virtual void on_line(Channel &channel, std::string_view line) = 0;
    // Nothing more will come; once.
    virtual void on_closed(Channel &channel) = 0;

protected:
    ~ChannelHandler() = default;
};

// Lines to and from another process, over a stream socket or from a pipe. The
// main thread's.
class Channel final : private IoHandler
{
public:
    // Loop and handler outlive it. Nothing is heard before listen().
    Channel(EventLoop &loop, Fd fd, ChannelHandler &handler);

    void send(std::string_view line);
    // Waits for one line, before listen(). False: none came in time.
    [[nodiscard]] bool wait_line(std::string &out, int64_t timeout_ms);
    void listen();
    bool is_open() const { return fd_.valid(); }

private:
    void on_io(bool readable, bool writable) override;
    // False at the end.
    bool fill();
    bool take_line(std::string &out);
    void flush();

    EventLoop &loop_;
    Fd fd_;
    ChannelHandler &handler_;
    std::unique_ptr<IoWatch> watch_; // once it listens
    std::string in_;
    std::string out_;
};

} // namespace llmproxy

#endif
