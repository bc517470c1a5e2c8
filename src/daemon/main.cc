// Start-up, in order: options, configuration, log, limits of the process,
// libraries, supervisor.
#include "llm_proxy/base/log.h"
#include "llm_proxy/config/settings.h"
#include "llm_proxy/json/value.h"
#include "llm_proxy/limit/redis_limiter.h"
#include "llm_proxy/proxy/access_log.h"
#include "llm_proxy/upstream/health_check.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <event2/event.h>

#include "environment.h"
#include "hash_token.h"
#include "last_words.h"
#include "launch.h"
#include "name_resolver.h"
#include "options.h"
#include "print_nginx.h"
#include "privileges.h"
#include "process_clock.h"
#include "supervisor.h"

namespace
{

using namespace llmproxy;

void raise_fd_limit(const Config &config)
{
    rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1) {
        return;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    // A client and its backend connection each; listeners, logs, loops.
    const rlim_t wanted = 2 * config.max_connections + 64;
    if (limit.rlim_cur < wanted) {
        log_notice("MAX_CONNECTIONS=%llu may take %llu descriptors, but the "
                   "limit is %llu",
                   static_cast<unsigned long long>(config.max_connections),
                   static_cast<unsigned long long>(wanted),
                   static_cast<unsigned long long>(limit.rlim_cur));
    }
}

void libevent_log_cb(int severity, const char *message)
{
    if (severity >= EVENT_LOG_WARN) {
        log_warning("libevent: %s", message);
    }
}

void libevent_fatal_cb(int code)
{
    fatal("libevent: fatal error %d", code);
}

// Nothing is made: whoever checks may be root, and then it would be root's.
bool can_write(const std::string &path, Error &err)
{
    const Fd file(open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC |
                                         O_NOCTTY | O_NONBLOCK));
    if (file.valid()) {
        return true;
    }
    const size_t slash = path.rfind('/');
    const std::string folder =
        slash == std::string::npos ? "." : path.substr(0, slash + 1);
    if (errno == ENOENT &&
        faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0) {
        return true;
    }
    err.message = path + ": " + strerror(errno);
    return false;
}

// The start would open them, too.
bool check_logs(const Config &config)
{
    bool ok = true;
    const struct {
        const char *setting;
        const std::string &name;
    } logs[] = {{"LOG_FILE", config.log_file},
                {"ACCESS_LOG", config.access_log}};
    for (const auto &log : logs) {
        Error err;
        const std::string file(LogTarget::file_of(log.name));
        if (!file.empty() && !can_write(file, err)) {
            (void)fprintf(stderr, "%s: %s\n", log.setting, err.message.c_str());
            ok = false;
        }
    }
    return ok;
}

void warn_of_expired(const Config &config)
{
    for (const Principal &principal : config.tokens.principals()) {
        if (principal.expires_s != 0 &&
            principal.expires_s <= process_clock().wall_ms() / 1000) {
            (void)fprintf(stderr, "warning: token \"%s\" has expired\n",
                          principal.label.c_str());
        }
    }
}

// Whether the Redis server is there and does what limits need of it.
bool check_store(const Config &config)
{
    Error err;
    EventLoop loop;
    NameResolver resolver(loop);
    if (config.limit_store != LimitStore::Redis ||
        check_redis(loop, resolver, config, err)) {
        return true;
    }
    (void)fprintf(stderr, "REDIS_URL: %s: %s\n",
                  masked_redis_url(config.redis_url).c_str(),
                  err.message.c_str());
    return false;
}

int print_hash()
{
    std::string digits;
    Error err;
    if (!hash_token(digits, err)) {
        (void)fprintf(stderr, "llm-proxyd: %s\n", err.message.c_str());
        return kExitConfig;
    }
    (void)puts(digits.c_str());
    return kExitOk;
}

// Says nothing where all is well: this runs every few seconds.
int print_health(const std::string &url)
{
    constexpr int64_t patience_ms = 5000;
    Error err;
    if (!check_health(url, patience_ms, err)) {
        (void)fprintf(stderr, "llm-proxyd: %s: %s\n", url.c_str(),
                      err.message.c_str());
        return kExitUnavailable;
    }
    return kExitOk;
}

int print_nginx(const Config &config)
{
    std::string text;
    Error err;
    if (!nginx_server(config, text, err)) {
        (void)fprintf(stderr, "LISTEN: %s\n", err.message.c_str());
        return kExitConfig;
    }
    (void)fputs(text.c_str(), stdout);
    return kExitOk;
}

// The exit code, or -1 to go on.
int check_config(const Options &options, const Launch &launch, Config &config)
{
    std::vector<Problem> problems;
    bool readable = true;
    const bool ok = load_config(launch.config_path, launch.environment, config,
                                problems, readable);
    for (const Problem &problem : problems) {
        (void)fprintf(stderr, "%s\n", to_string(problem).c_str());
    }
    if (!readable) {
        return kExitNoInput;
    }
    if (!ok) {
        return kExitConfig;
    }
    Error err;
    if (!read_redis_trust(config, err)) {
        (void)fprintf(stderr, "%s\n", err.message.c_str());
        return kExitConfig;
    }
    if (options.dump) {
        for (const std::string &line : config.dump) {
            (void)printf("%s\n", line.c_str());
        }
        return kExitOk;
    }
    if (options.print_nginx) {
        return print_nginx(config);
    }
    if (options.test) {
        if (!check_logs(config)) {
            return kExitCannotCreate;
        }
        if (options.connect && !check_store(config)) {
            return kExitUnavailable;
        }
        warn_of_expired(config);
        for (const std::string &warning : config.warnings) {
            (void)fprintf(stderr, "warning: %s\n", warning.c_str());
        }
        (void)fprintf(stderr, "configuration is ok\n");
        return kExitOk;
    }
    return -1;
}

// Those that would end the process and mean nothing to it; SIGXFSZ is a write
// to a log beyond the limit on file sizes, which fails then.
void ignore_signals()
{
    // Whoever starts this may have blocked some.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    struct sigaction ignore = {};
    ignore.sa_handler = SIG_IGN;
    for (const int signal : {SIGPIPE, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF,
                             SIGIO, SIGPWR, SIGSTKFLT, SIGXFSZ}) {
        sigaction(signal, &ignore, nullptr);
    }
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++) {
        sigaction(signal, &ignore, nullptr);
    }
}

// What an upgrade starts: the name that this was started by, behind which
// there may be another program by then.
std::string program_path(const std::string &name)
{
    char path[4096];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
    if (name.find('/') != std::string::npos || size == -1) {
        return name;
    }
    return {path, static_cast<size_t>(size)};
}

// Whoever it is now reads the settings again on a reload.
void warn_of_unreadable(const Launch &launch)
{
    Config ignored;
    std::vector<Problem> problems;
    bool readable = true;
    if (!load_config(launch.config_path, launch.environment, ignored, problems,
                     readable)) {
        for (const Problem &problem : problems) {
            log_warning("%s", to_string(problem).c_str());
        }
        log_warning("this user cannot reload: see above");
    }
}

// The exit code.
int become(const Identity &identity, const Launch &launch)
{
    Error err;
    if (!drop_privileges(identity, err)) {
        log_error("%s", err.message.c_str());
        return kExitPermission;
    }
    if (identity.wanted) {
        warn_of_unreadable(launch);
    }
    // Tokens' digests and prompts are in memory: no core, no ptrace by peers.
    prctl(PR_SET_DUMPABLE, 0);
    return kExitOk;
}

int serve(const Options &options, Launch &launch,
          std::shared_ptr<Config> config, const Identity &identity)
{
    Error err;
    bool running = false;
    // What goes wrong so far is told to whoever starts it.
    if (!log_configure(config->log_level, config->log_format, "", err)) {
        return kExitCannotCreate;
    }
    launch.pid_path = options.pid_path;
    if (!options.pid_path.empty() && !launch.pid_fd.valid() &&
        !launch.pid_file.lock(options.pid_path, running, err)) {
        log_error("-p: %s", err.message.c_str());
        return running ? kExitRunning : kExitCannotCreate;
    }
    raise_fd_limit(*config);
    event_set_log_callback(libevent_log_cb);
    event_set_fatal_callback(libevent_fatal_cb);
    Supervisor supervisor(process_clock(), launch);
    int code = supervisor.listen(config, identity);
    if (code == kExitOk) {
        code = become(identity, launch);
    }
    if (code != kExitOk) {
        return code;
    }
    // As who will open it anew.
    if (!log_configure(config->log_level, config->log_format, config->log_file,
                       err)) {
        log_error("LOG_FILE: %s", err.message.c_str());
        return kExitCannotCreate;
    }
    if (options.daemon && config->log_file.empty() &&
        !launch.error_output.valid()) {
        log_warning("-d without LOG_FILE: there will be no error log");
    }
    config.reset(); // a reload must be able to free it
    return supervisor.run();
}

int start(const Options &options, Launch &launch,
          std::shared_ptr<Config> config)
{
    Error err;
    Identity identity;
    if (!find_identity(options.user, options.group, identity, err)) {
        (void)fprintf(stderr, "llm-proxyd: %s\n", err.message.c_str());
        return kExitUsage;
    }
    ignore_signals();
    install_last_words();
    if (options.daemon && !launch.channel.valid() &&
        !launch.background.enter(err)) {
        (void)fprintf(stderr, "llm-proxyd: %s\n", err.message.c_str());
        return kExitOs;
    }
    return serve(options, launch, std::move(config), identity);
}

int run_options(int argc, char **argv)
{
    open_standard_fds();
    Options options;
    if (!parse_options(argc, argv, options)) {
        return kExitUsage;
    }
    if (options.help) {
        print_usage();
        return kExitOk;
    }
    if (options.version) {
        print_version();
        return kExitOk;
    }
    if (options.hash_token) {
        return print_hash();
    }
    if (!UpstreamPool::global_init()) {
        (void)fprintf(stderr, "llm-proxyd: libcurl cannot be initialised\n");
        return kExitSoftware;
    }
    if (!options.health_url.empty()) {
        return print_health(options.health_url);
    }
    json::init();
    Launch launch;
    launch.config_path = options.config_path;
    if (launch.config_path.empty() && access(kDefaultConfig, F_OK) == 0) {
        launch.config_path = kDefaultConfig;
    }
    launch.environment = read_environment();
    if (options.debug) {
        launch.environment["LOG_LEVEL"] = "debug";
    }
    Error err;
    if (!take_inherited(launch.environment, launch.sockets, err)) {
        (void)fprintf(stderr, "llm-proxyd: %s\n", err.message.c_str());
        return kExitConfig;
    }
    launch.channel = take_named(launch.sockets, kPassedChannel);
    launch.limits = take_named(launch.sockets, kPassedLimits);
    launch.error_output = take_named(launch.sockets, kPassedStderr);
    launch.pid_fd = take_named(launch.sockets, kPassedPidFile);
    launch.program = program_path(argv[0]);
    launch.arguments.assign(argv, argv + argc);
    std::shared_ptr<Config> config = std::make_shared<Config>();
    const int code = check_config(options, launch, *config);
    if (code != -1) {
        return code;
    }
    return start(options, launch, std::move(config));
}

} // namespace

int main(int argc, char **argv)
{
    const int code = run_options(argc, argv);
    // Half of what was asked for would look like the whole.
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        (void)fprintf(stderr, "llm-proxyd: standard output: %s\n",
                      strerror(errno));
        return kExitOs;
    }
    return code;
}
