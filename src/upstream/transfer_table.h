#ifndef LLM_PROXY_SRC_UPSTREAM_TRANSFER_TABLE_H
#define LLM_PROXY_SRC_UPSTREAM_TRANSFER_TABLE_H

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "transfer.h"

namespace llmproxy
{

// A pool's transfers by id: the low half of an id is a place, which is used
// again, and the high half tells apart who had it.
class TransferTable
{
public:
    // Never 0, and not given again.
    uint64_t put(std::unique_ptr<Transfer> transfer)
    {
        if (free_.empty()) {
            free_.push_back(static_cast<uint32_t>(places_.size()));
            places_.emplace_back();
        }
        const uint32_t at = free_.back();
        free_.pop_back();
        Place &place = places_[at];
        place.id = ++serial_ << 32 | at;
        place.transfer = std::move(transfer);
        return place.id;
    }

    // nullptr of one that was taken.
    Transfer *find(uint64_t id) const
    {
        const size_t at = static_cast<uint32_t>(id);
        return at < places_.size() && places_[at].id == id
                   ? places_[at].transfer.get()
                   : nullptr;
    }

    std::unique_ptr<Transfer> take(uint64_t id)
    {
        if (find(id) == nullptr) {
            return nullptr;
        }
        const uint32_t at = static_cast<uint32_t>(id);
        places_[at].id = 0;
        free_.push_back(at);
        return std::move(places_[at].transfer);
    }

    // Of all that are in it now.
    std::vector<uint64_t> ids() const
    {
        std::vector<uint64_t> ids;
        for (const Place &place : places_) {
            if (place.id != 0) {
                ids.push_back(place.id);
            }
        }
        return ids;
    }

private:
    struct Place {
        uint64_t id = 0; // 0 = free
        std::unique_ptr<Transfer> transfer;
    };

    std::vector<Place> places_;
    std::vector<uint32_t> free_;
    uint64_t serial_ = 0;
};

} // namespace llmproxy

#endif
