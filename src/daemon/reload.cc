// The part of a reload that can fail, and what is said of the whole.
#include "reload.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/limit/redis_limiter.h"
#include "llm_proxy/proxy/access_log.h"

#include <utility>

#include "options.h"

namespace llmproxy
{

namespace
{

bool fail(int code, const std::string &error, ReloadResult &result)
{
    result.code = code;
    result.errors.push_back(error);
    return false;
}

} // namespace

bool read_anew(const Launch &launch, Listeners &listeners, Config &wanted,
               LogTarget &access_log, ReloadResult &result)
{
    std::vector<Problem> problems;
    bool readable = true;
    Error err;
    if (!load_config(launch.config_path, launch.environment, wanted, problems,
                     readable)) {
        result.code = readable ? kExitConfig : kExitNoInput;
        for (const Problem &problem : problems) {
            result.errors.push_back(to_string(problem));
        }
        return false;
    }
    if (!read_redis_trust(wanted, err)) {
        return fail(kExitConfig, err.message, result);
    }
    ListenError unbound;
    if (!listeners.open(wanted.listen, unbound)) {
        return fail(exit_code(unbound), unbound.message, result);
    }
    // The error log last: from there on nothing can fail.
    LogTarget fresh;
    if (!fresh.open(wanted.access_log, err)) {
        listeners.forget_opened();
        return fail(kExitCannotCreate, "ACCESS_LOG: " + err.message, result);
    }
    if (!log_configure(wanted.log_level, wanted.log_format, wanted.log_file,
                       err)) {
        listeners.forget_opened();
        return fail(kExitCannotCreate, "LOG_FILE: " + err.message, result);
    }
    access_log = std::move(fresh);
    return true;
}

void log_reload(const ReloadResult &result)
{
    for (const std::string &error : result.errors) {
        log_error("%s", error.c_str());
    }
    if (result.code != kExitOk) {
        log_error("reload failed, the running configuration stays");
        return;
    }
    for (const std::string &name : result.changes.restart) {
        log_warning("%s has changed: takes a restart", name.c_str());
    }
    log_notice("reloaded, %zu tokens; %s", result.tokens,
               to_string(result.changes).c_str());
}

} // namespace llmproxy
