// The main thread's work: listeners, workers, signals, reload, drain.
#include "supervisor.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <cerrno>
#include <csignal>
#include <utility>

#include <fcntl.h>

#include <event2/event.h>

#include "last_words.h"
#include "options.h"
#include "state_file.h"

namespace llmproxy
{

namespace
{

// What is cut off gets this long to send its last words.
constexpr int64_t kLastWordsMs = 500;
constexpr int64_t kFastMs = 500;
constexpr int64_t kLogPeriodMs = 10000;
constexpr unsigned kStuckS = 5; // what is left by then is no work
constexpr int kSignals[] = {SIGHUP,  SIGUSR1, SIGUSR2, SIGWINCH,
                            SIGTERM, SIGQUIT, SIGINT,  SIGCHLD};

} // namespace

Supervisor::Supervisor(const Clock &clock, Launch &launch)
    : launch_(launch), process_(clock), crew_(loop_, process_),
      service_(loop_, crew_, process_.connections, launch.environment),
      upgrade_(loop_, process_, launch, *this), timer_(loop_, *this),
      state_timer_(loop_, *this), log_timer_(loop_, *this),
      control_(loop_, *this)
{
    loaded_.started_mono_ms = clock.mono_ms();
    loaded_.started_ms = clock.wall_ms();
}

Supervisor::~Supervisor()
{
    // Without its handler the next one would kill what has ended already, and
    // the exit status would say so.
    sigset_t ours;
    sigemptyset(&ours);
    for (const int signal : kSignals) {
        sigaddset(&ours, signal);
    }
    sigprocmask(SIG_BLOCK, &ours, nullptr);
    for (event *signal : signals_) {
        event_free(signal);
    }
}

int Supervisor::listen(const std::shared_ptr<Config> &config,
                       const Identity &identity)
{
    ListenError err;
    if (upgrade_.succeeds() && !upgrade_.adopt_limits(err)) {
        log_error("%s", err.message.c_str());
        return kExitOs;
    }
    apply(config);
    if (!listeners_.inherit(launch_.sockets, err)) {
        log_error("%s", err.message.c_str());
        return kExitConfig;
    }
    if (!listeners_.open(config_->listen, err)) {
        log_error("%s", err.message.c_str());
        return exit_code(err);
    }
    if (!config_->control_socket.empty() &&
        !control_.open(config_->control_socket, identity, upgrade_.succeeds(),
                       err)) {
        log_error("CONTROL_SOCKET: %s", err.message.c_str());
        return exit_code(err);
    }
    listeners_.give_files(identity);
    return kExitOk;
}

int Supervisor::run()
{
    if (!open_files()) {
        return kExitCannotCreate;
    }
    for (const int signal : kSignals) {
        event *watch = evsignal_new(loop_.base(), signal, signal_cb, this);
        event_add(watch, nullptr);
        signals_.push_back(watch);
    }
    Error err;
    if (!crew_.start(
            config_, {},
            [this] {
                drained_ = true;
                end_if_drained();
            },
            err)) {
        log_error("%s", err.message.c_str());
        return kExitOs;
    }
    const bool succeeds = upgrade_.succeeds();
    if (succeeds && !upgrade_.take_over(err)) {
        log_error("%s", err.message.c_str());
        return kExitOs;
    }
    if (!begin_serving(succeeds)) {
        return kExitCannotCreate;
    }
    loop_.run();
    end_by_force_after(kStuckS);
    upgrade_.abandon();
    crew_.stop();
    if (!replaced_ && !config_->state_file.empty()) {
        save_state(config_->state_file, process_.limits);
    }
    end_log_period();
    log_notice("ended");
    return kExitOk;
}

bool Supervisor::open_files()
{
    Error err;
    LogTarget access_log;
    if (!access_log.open(config_->access_log, err)) {
        log_error("ACCESS_LOG: %s", err.message.c_str());
        return false;
    }
    process_.access_log.use(std::move(access_log));
    // Who takes a place over has the counters already.
    return config_->state_file.empty() || upgrade_.succeeds() ||
           load_state(config_->state_file, process_.limits);
}

bool Supervisor::begin_serving(bool took_over)
{
    Error err;
    if (took_over) {
        use_error_output(std::move(launch_.error_output));
        log_reopen(); // the journal, perhaps
        listeners_.own();
        if (launch_.pid_fd.valid()) {
            launch_.pid_file.adopt(launch_.pid_path, std::move(launch_.pid_fd));
        }
    }
    if (!launch_.pid_file.write(err)) {
        log_error("-p: %s", err.message.c_str());
        if (!took_over) {
            return false;
        }
    }
    watch_listeners(listeners_.use());
    log_notice("llm-proxyd %s ready, %zu workers", LLMPROXY_VERSION,
               crew_.size());
    control_.begin();
    service_.ready("serving");
    launch_.background.detach();
    arm_state_timer();
    log_timer_.arm(kLogPeriodMs);
    if (upgrade_.take_reload_due()) {
        (void)reload();
    }
    return true;
}

void Supervisor::apply(const std::shared_ptr<Config> &config)
{
    process_.limits.assign_slots(config->tokens);
    process_.buffered.set_limit(config->max_buffered_bytes);
    process_.reserved.set_limit(config->max_buffered_bytes);
    for (size_t i = 0; i < kBackends; i++) {
        process_.gates[i].set_limits(config->backends[i].max_inflight,
                                     static_cast<uint64_t>(config->queue_size));
    }
    config_ = config;
    loaded_.loaded_ms = process_.clock.wall_ms();
    loaded_.generation++;
    for (const std::string &warning : config->warnings) {
        log_warning("%s", warning.c_str());
    }
}

ReloadResult Supervisor::reload()
{
    ReloadResult result;
    std::shared_ptr<Config> wanted = std::make_shared<Config>();
    LogTarget access_log;
    if (upgrade_.under_way()) {
        result.code = kExitUnavailable;
        result.errors = {"no reload while an upgrade is under way"};
        log_reload(result);
        return result;
    }
    service_.reloading();
    if (read_anew(launch_, listeners_, *wanted, access_log, result)) {
        process_.access_log.use(std::move(access_log));
        result.changes = compare_configs(*config_, *wanted);
        keep_until_restart(*config_, *wanted);
        apply(wanted);
        crew_.set_config(config_);
        watch_listeners(listeners_.use());
        process_.draining.store(false); // a WINCH is over
        arm_state_timer();
        result.tokens = config_->tokens.size();
    }
    loaded_.reload_failed = result.code != kExitOk;
    log_reload(result);
    service_.ready(loaded_.reload_failed ? "serving, the reload failed"
                                         : "serving");
    return result;
}

ControlView Supervisor::control_view()
{
    const char *phase = phase_ == Phase::Ending    ? "ending"
                        : phase_ != Phase::Serving ? "draining"
                        : process_.draining.load() ? "not accepting"
                                                   : "serving";
    return {config_,
            process_,
            listeners_,
            launch_.config_path,
            loaded_,
            phase,
            phase_ != Phase::Serving};
}

void Supervisor::drain()
{
    begin_drain(config_->drain_delay_ms, config_->drain_timeout_ms);
}

void Supervisor::watch_listeners(uint64_t left)
{
    crew_.listen_on(listeners_.descriptors(),
                    [this, left] { listeners_.close_left(left); });
}

void Supervisor::stop_accepting()
{
    // A window that changes its size sends the same to all that run in it.
    const Fd terminal(open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (terminal.valid() || phase_ != Phase::Serving) {
        return;
    }
    if (upgrade_.under_way()) {
        log_notice("accepting goes on: an upgrade is under way");
        return;
    }
    process_.draining.store(true);
    log_notice("accepting no more; SIGHUP begins anew");
    watch_listeners(listeners_.use_none());
    service_.ready("accepting no more");
}

void Supervisor::arm_state_timer()
{
    if (config_->state_file.empty()) {
        state_timer_.cancel();
    } else {
        state_timer_.arm(config_->state_interval_ms);
    }
}

void Supervisor::reopen_logs()
{
    upgrade_.reopen_predecessors_logs();
    log_reopen();
    Error err;
    LogTarget access_log;
    if (access_log.open(config_->access_log, err)) {
        process_.access_log.use(std::move(access_log));
        log_notice("logs reopened");
    } else {
        log_error("ACCESS_LOG: %s", err.message.c_str());
    }
}

// What came more often than it was written, and what nobody has read.
void Supervisor::end_log_period()
{
    const size_t lost = process_.access_log.take_lost();
    if (lost > 0) {
        log_warning("lines of the access log that were lost: %zu", lost);
    }
    log_end_period();
}

void Supervisor::signal_cb(int signal, short, void *arg) noexcept
{
    static_cast<Supervisor *>(arg)->on_signal(signal);
}

void Supervisor::on_signal(int signal)
{
    switch (signal) {
    case SIGHUP:
        hang_up();
        return;
    case SIGUSR1:
        reopen_logs();
        return;
    case SIGUSR2:
        upgrade();
        return;
    case SIGWINCH:
        stop_accepting();
        return;
    case SIGCHLD:
        upgrade_.on_child();
        return;
    default:
        break;
    }
    if (replaced_ && !end_asked_) {
        log_notice("ending with what still runs");
        on_end_asked(signal == SIGINT ? kFastMs : config_->drain_timeout_ms);
    } else if (phase_ != Phase::Serving) {
        log_notice("second signal, ending at once");
        upgrade_.end_predecessors(0);
        loop_.stop();
    } else if (signal == SIGINT) {
        begin_drain(0, kFastMs);
    } else {
        drain();
    }
}

void Supervisor::hang_up()
{
    if (phase_ != Phase::Serving) {
        log_notice("draining: the settings stay, the logs are reopened");
        reopen_logs();
    } else if (upgrade_.under_way()) {
        log_notice("the reload follows the upgrade");
        upgrade_.reload_after();
    } else {
        (void)reload();
    }
}

void Supervisor::upgrade()
{
    if (phase_ == Phase::Serving) {
        upgrade_.begin(listeners_.to_pass(), config_->upgrade_timeout_ms);
    } else {
        log_notice("draining: no upgrade");
    }
}

void Supervisor::on_replaced(pid_t successor)
{
    replaced_ = true;
    phase_ = Phase::Draining; // as long as its clients take
    log_notice("draining, %llu clients",
               static_cast<unsigned long long>(process_.connections.load()));
    service_.hand_over(successor);
    launch_.pid_file.leave();
    state_timer_.cancel();
    listeners_.lend();
    crew_.begin_drain(true,
                      [this] { listeners_.close_left(listeners_.use_none()); });
}

void Supervisor::on_reopen_asked()
{
    reopen_logs();
}

void Supervisor::on_reload_due()
{
    hang_up();
}

void Supervisor::on_end_asked(int64_t timeout_ms)
{
    end_asked_ = true;
    upgrade_.end_predecessors(timeout_ms);
    if (phase_ == Phase::Draining) {
        crew_.begin_drain(false, [] {});
        timer_.arm(timeout_ms);
    }
}

void Supervisor::on_predecessors_gone()
{
    end_if_drained();
}

void Supervisor::end_if_drained()
{
    if (drained_ && !upgrade_.has_predecessors()) {
        loop_.stop();
    }
}

void Supervisor::begin_drain(int64_t delay_ms, int64_t timeout_ms)
{
    process_.draining.store(true);
    drain_timeout_ms_ = timeout_ms;
    upgrade_.abandon();
    upgrade_.end_predecessors(delay_ms + timeout_ms);
    log_notice("draining, %llu clients",
               static_cast<unsigned long long>(process_.connections.load()));
    service_.stopping("draining");
    if (delay_ms > 0) {
        phase_ = Phase::Delay;
        timer_.arm(delay_ms);
    } else {
        close_doors();
    }
}

void Supervisor::close_doors()
{
    phase_ = Phase::Draining;
    timer_.arm(drain_timeout_ms_);
    crew_.begin_drain(false,
                      [this] { listeners_.close_left(listeners_.use_none()); });
}

void Supervisor::cut_off()
{
    phase_ = Phase::Ending;
    log_warning("%llu clients cut off",
                static_cast<unsigned long long>(process_.connections.load()));
    crew_.shut_down();
    timer_.arm(kLastWordsMs);
}

void Supervisor::on_timer(Timer &timer)
{
    if (&timer == &log_timer_) {
        end_log_period();
        log_timer_.arm(kLogPeriodMs);
        return;
    }
    if (&timer == &state_timer_) {
        save_state(config_->state_file, process_.limits);
        arm_state_timer();
        return;
    }
    switch (phase_) {
    case Phase::Serving:
        break;
    case Phase::Delay:
        close_doors();
        break;
    case Phase::Draining:
        cut_off();
        break;
    case Phase::Ending:
        loop_.stop();
        break;
    }
}

} // namespace llmproxy
