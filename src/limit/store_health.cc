// What the log says of the store, once for all workers.
#include "llm_proxy/limit/store_health.h"

#include "llm_proxy/base/log.h"

namespace llmproxy
{

namespace
{

constexpr int64_t kRepeatMs = 60'000;

} // namespace

bool StoreHealth::failed(const std::string &kind, bool operator_acts,
                         int64_t now_ms)
{
    const std::lock_guard<std::mutex> guard(lock_);
    degraded_.store(true, std::memory_order_relaxed);
    const auto told = told_ms_.find(kind);
    const bool repeated =
        told != told_ms_.end() && now_ms - told->second < kRepeatMs;
    const bool known = announced_ && now_ms - line_ms_ < kRepeatMs;
    if (repeated || (known && !operator_acts)) {
        return false;
    }
    told_ms_[kind] = now_ms;
    line_ms_ = now_ms;
    announced_ = true;
    return true;
}

void StoreHealth::recovered()
{
    const std::lock_guard<std::mutex> guard(lock_);
    degraded_.store(false, std::memory_order_relaxed);
    if (announced_) {
        announced_ = false;
        log_notice("rate limits: the store decides again");
    }
}

} // namespace llmproxy
