#ifndef LLM_PROXY_DAEMON_CONTROL_ANSWERS_H
#define LLM_PROXY_DAEMON_CONTROL_ANSWERS_H

#include "llm_proxy/config/settings.h"
#include "llm_proxy/proxy/worker_context.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "listeners.h"
#include "reload.h"
#include "worker_report.h"

namespace llmproxy
{

class ControlDocument;

// When the process and its configuration began.
struct LoadedState {
    int64_t started_mono_ms = 0;
    int64_t started_ms = 0;     // since 1970
    int64_t loaded_ms = 0;      // the configuration
    uint64_t generation = 0;    // of it, from 1
    bool reload_failed = false; // the last one
};

// The daemon as the control socket shows it; good for one call.
struct ControlView {
    std::shared_ptr<const Config> config;
    ProcessState &process;
    const Listeners &listeners;
    const std::string &config_path; // empty = none
    const LoadedState &loaded;
    const char *phase; // serving, not accepting, draining, ending
    bool draining;     // for good
};

using WorkerAnswers = std::vector<WorkerAnswer>;

// Each is one JSON document and a line's end: an object with "ok", and where
// that is false "code", an exit code, and "error". Text that comes from
// clients or backends is escaped as in the logs. Workers that have not answered
// are named in "late_workers".
std::string refusal(int code, const std::string &error);
std::string status_answer(const ControlView &view, const WorkerAnswers &all);
std::string top_answer(const ControlView &view, const WorkerAnswers &all);
std::string tokens_answer(const ControlView &view, const WorkerAnswers &all);
std::string reset_answer(const ControlView &view, const WorkerAnswers &all);
std::string backends_answer(const ControlView &view);
// The labels with their use of the limits; `active`: only those that have a
// request running or have used a unit of this minute.
void add_labels(ControlDocument &doc, const char *key, const ControlView &view,
                const WorkerAnswers &all, bool active);
std::string config_answer(const ControlView &view);
std::string reload_answer(const ControlView &view, const ReloadResult &result);

} // namespace llmproxy

#endif
