// The place of one running request among those its token may have.

#include "llm_proxy/limit/slot.h"

#include <utility>

namespace llmproxy
{

ConcurrencySlot::ConcurrencySlot(MemoryLimitTable &table,
                                 const Principal &principal)
    : table_(table.enter(principal) ? &table : nullptr), slot_(principal.slot)
{
}

ConcurrencySlot::ConcurrencySlot(ConcurrencySlot &&other) noexcept
    : table_(std::exchange(other.table_, nullptr)), slot_(other.slot_)
{
}

ConcurrencySlot &ConcurrencySlot::operator=(ConcurrencySlot &&other) noexcept
{
    if (this != &other) {
        give_back();
        table_ = std::exchange(other.table_, nullptr);
        slot_ = other.slot_;
    }
    return *this;
}

void ConcurrencySlot::give_back()
{
    if (table_ != nullptr) {
        std::exchange(table_, nullptr)->leave(slot_);
    }
}

} // namespace llmproxy
