#ifndef LLM_PROXY_LIMIT_SLOT_H
#define LLM_PROXY_LIMIT_SLOT_H

#include "llm_proxy/limit/memory_limiter.h"

#include <cstdint>

namespace llmproxy
{

// One of the requests that a token may have running at a time, over all
// workers of the process. Given back when it ends. Moves with its exchange;
// belongs to one thread, the count behind it is anybody's.
class ConcurrencySlot
{
public:
    ConcurrencySlot() = default;
    // Not held if the token has as many as it may. The table outlives it.
    ConcurrencySlot(MemoryLimitTable &table, const Principal &principal);
    ~ConcurrencySlot() { give_back(); }
    ConcurrencySlot(ConcurrencySlot &&other) noexcept;
    ConcurrencySlot &operator=(ConcurrencySlot &&other) noexcept;
    ConcurrencySlot(const ConcurrencySlot &) = delete;
    ConcurrencySlot &operator=(const ConcurrencySlot &) = delete;

    bool held() const { return table_ != nullptr; }
    void give_back();

private:
    MemoryLimitTable *table_ = nullptr;
    uint32_t slot_ = 0;
};

} // namespace llmproxy

#endif
