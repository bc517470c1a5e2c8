#ifndef LLM_PROXY_BASE_BYTE_BUDGET_H
#define LLM_PROXY_BASE_BYTE_BUDGET_H

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace llmproxy
{

// Counts bytes that all connections of the process hold in memory together.
// Any thread.
class ByteBudget
{
public:
    void set_limit(uint64_t bytes)
    {
        limit_.store(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    }
    // Takes `bytes` if that many are left.
    [[nodiscard]] bool try_take(size_t bytes)
    {
        const int64_t n = static_cast<int64_t>(bytes);
        if (used_.fetch_add(n, std::memory_order_relaxed) + n >
            limit_.load(std::memory_order_relaxed)) {
            used_.fetch_sub(n, std::memory_order_relaxed);
            return false;
        }
        return true;
    }
    // Takes what cannot be refused any more (output that is bounded by
    // pausing its source).
    void take(size_t bytes)
    {
        used_.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    }
    uint64_t used() const
    {
        return static_cast<uint64_t>(
            std::max<int64_t>(used_.load(std::memory_order_relaxed), 0));
    }
    void give(size_t bytes)
    {
        used_.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    }

private:
    std::atomic<int64_t> used_{0};
    std::atomic<int64_t> limit_{INT64_MAX};
};

} // namespace llmproxy

#endif
