#ifndef LLM_PROXY_LIMIT_STORE_HEALTH_H
#define LLM_PROXY_LIMIT_STORE_HEALTH_H

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace llmproxy
{

// Whether the store of the limits decides, for all workers of the process, so
// that the log hears of it once: one line when it fails, one when it decides
// again, and one a minute where a failure goes on, or comes and goes. Any
// thread.
class StoreHealth
{
public:
    // A request was decided otherwise, or the connection is lost. True: the
    // caller writes a line. `operator_acts`: it will not pass by itself.
    [[nodiscard]] bool failed(const std::string &kind, bool operator_acts,
                              int64_t now_ms);
    // The store has decided. Cheap where nothing was wrong.
    void works()
    {
        if (degraded_.load(std::memory_order_relaxed)) {
            recovered();
        }
    }
    bool degraded() const { return degraded_.load(std::memory_order_relaxed); }

private:
    void recovered();

    std::atomic<bool> degraded_{false};
    std::mutex lock_; // guards what follows
    bool announced_ = false;
    int64_t line_ms_ = 0;                    // when it was
    std::map<std::string, int64_t> told_ms_; // by kind
};

} // namespace llmproxy

#endif
