#ifndef LLM_PROXY_DAEMON_WORKER_REPORT_H
#define LLM_PROXY_DAEMON_WORKER_REPORT_H

#include "llm_proxy/config/settings.h"
#include "llm_proxy/limit/limiter.h"
#include "llm_proxy/proxy/exchange_view.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace llmproxy
{

// What the supervisor wants to know of a worker, or have done there.
struct WorkerQuestion {
    size_t exchanges = 0;                 // how many to list, the oldest first
    std::shared_ptr<const Config> config; // whose tokens are meant below
    bool limits = false;                  // what is known of every token's
    const Principal *reset = nullptr;     // in the store
    const Principal *forget = nullptr;    // what was known of it
};

struct WorkerAnswer {
    bool came = false;
    uint64_t connections = 0;
    uint64_t exchanges = 0; // all of them
    std::vector<ExchangeView> listed;
    std::vector<std::optional<LimitVerdict>> limits; // by token
    std::string why_not;                             // nothing was reset
};

using WorkerAnswered = std::function<void(WorkerAnswer)>;

} // namespace llmproxy

#endif
