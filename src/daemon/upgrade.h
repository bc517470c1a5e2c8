#ifndef LLM_PROXY_SRC_DAEMON_UPGRADE_H
#define LLM_PROXY_SRC_DAEMON_UPGRADE_H

#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/proxy/worker_context.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "channel.h"
#include "inherited.h"
#include "launch.h"

namespace llmproxy
{

class UpgradeHost
{
public:
    // All from the loop. The new process is about to serve: this one accepts
    // no more.
    virtual void on_replaced(pid_t successor) = 0;
    // The service ends: what still runs has so long.
    virtual void on_end_asked(int64_t timeout_ms) = 0;
    // The log files were rotated.
    virtual void on_reopen_asked() = 0;
    // This process goes on, and was asked meanwhile to reload.
    virtual void on_reload_due() = 0;
    // The earlier processes have ended.
    virtual void on_predecessors_gone() = 0;

protected:
    ~UpgradeHost() = default;
};

// One process takes the place of another without a client that notices. The
// old one starts the new one with its sockets, the limits' counters and a
// channel; the new one says when it could serve, is told what receipts are
// known, and then serves. Both tell each other of receipts as long as both
// live. A new process that does not come so far changes nothing.
class Upgrade final : private ChannelHandler,
                      private TimerHandler,
                      private ReceiptWitness
{
public:
    // All outlive it.
    Upgrade(EventLoop &loop, ProcessState &process, Launch &launch,
            UpgradeHost &host);
    ~Upgrade();
    Upgrade(const Upgrade &) = delete;
    Upgrade &operator=(const Upgrade &) = delete;

    // The old process. Starts the new one with `sockets`, whose descriptors
    // stay ours.
    void begin(const std::vector<PassedSocket> &sockets, int64_t timeout_ms);
    bool under_way() const { return child_ != -1 && !replaced_; }
    // Whoever serves then reloads once it is over.
    void reload_after() { reload_due_ = true; }
    void abandon();
    // SIGCHLD.
    void on_child();

    // The new process. Whether it is one, and if so: goes on with the limits
    // of the old one; says that it could serve, and waits for its word.
    bool succeeds() const { return launch_.channel.valid(); }
    [[nodiscard]] bool adopt_limits(Error &err);
    [[nodiscard]] bool take_over(Error &err);
    // Whether the old one was asked to reload meanwhile; once.
    bool take_reload_due() { return std::exchange(reload_due_, false); }
    // Earlier processes whose last clients have not gone.
    bool has_predecessors() const;
    void end_predecessors(int64_t timeout_ms);
    void reopen_predecessors_logs();

private:
    void on_line(Channel &channel, std::string_view line) override;
    void on_closed(Channel &channel) override;
    void on_timer(Timer &timer) override;
    void on_receipt(const ReceiptNote &note) override;

    [[nodiscard]] bool start(const std::vector<PassedSocket> &sockets,
                             Error &err);
    void merge(std::string_view words);
    [[nodiscard]] bool take_until(std::string_view last);
    void hand_over();
    void leave();
    void fail(const std::string &why);

    EventLoop &loop_;
    ProcessState &process_;
    Launch &launch_;
    UpgradeHost &host_;
    std::unique_ptr<Channel> predecessor_;
    std::unique_ptr<Channel> successor_;
    std::unique_ptr<Channel> words_; // the new process' standard error
    Timer deadline_;
    Timer reclaim_timer_;
    pid_t child_ = -1;
    bool replaced_ = false;
    bool reload_due_ = false;
};

} // namespace llmproxy

#endif
