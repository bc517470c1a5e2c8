#ifndef LLM_PROXY_DAEMON_SUPERVISOR_H
#define LLM_PROXY_DAEMON_SUPERVISOR_H

#include "llm_proxy/config/settings.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/proxy/worker_context.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "control.h"
#include "crew.h"
#include "launch.h"
#include "listeners.h"
#include "privileges.h"
#include "reload.h"
#include "service.h"
#include "upgrade.h"

struct event;

namespace llmproxy
{

// The main thread: opens the listeners, runs the workers, and turns signals
// into reload, drain and end. Serves no client itself.
class Supervisor final : private TimerHandler,
                         private ControlHost,
                         private UpgradeHost
{
public:
    Supervisor(const Clock &clock, Launch &launch);
    ~Supervisor();
    Supervisor(const Supervisor &) = delete;
    Supervisor &operator=(const Supervisor &) = delete;

    // Binds the addresses, which may take privileges that run() does without,
    // and gives the files of unix sockets to who the process will be. Returns
    // the exit code.
    int listen(const std::shared_ptr<Config> &config, const Identity &identity);
    // Starts the workers and serves until a signal ends it. Returns the exit
    // code.
    int run();

private:
    enum class Phase { Serving, Delay, Draining, Ending };

    static void signal_cb(int signal, short what, void *arg) noexcept;
    void on_signal(int signal);
    void on_timer(Timer &timer) override;
    ControlView control_view() override;
    Crew &crew() override { return crew_; }
    ReloadResult reload() override;
    void drain() override;
    void on_replaced(pid_t successor) override;
    void on_end_asked(int64_t timeout_ms) override;
    void on_reopen_asked() override;
    void on_reload_due() override;
    void on_predecessors_gone() override;

    bool open_files();
    bool begin_serving(bool took_over);
    void apply(const std::shared_ptr<Config> &config);
    void reopen_logs();
    void end_log_period();
    void begin_drain(int64_t delay_ms, int64_t timeout_ms);
    void hang_up();
    void upgrade();
    void end_if_drained();
    void stop_accepting();
    void watch_listeners(uint64_t left);
    void close_doors();
    void cut_off();
    void arm_state_timer();

    Launch &launch_;
    EventLoop loop_;
    ProcessState process_;
    std::shared_ptr<const Config> config_;
    Listeners listeners_;
    Crew crew_;
    Service service_;
    Upgrade upgrade_;
    std::vector<event *> signals_;
    Timer timer_; // of the phase
    Timer state_timer_;
    Timer log_timer_;
    Control control_;
    LoadedState loaded_;
    Phase phase_ = Phase::Serving;
    int64_t drain_timeout_ms_ = 0;
    bool drained_ = false;   // no worker has a client
    bool replaced_ = false;  // another process serves
    bool end_asked_ = false; // of one that was replaced
};

} // namespace llmproxy

#endif
