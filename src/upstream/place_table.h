#ifndef LLM_PROXY_SRC_UPSTREAM_PLACE_TABLE_H
#define LLM_PROXY_SRC_UPSTREAM_PLACE_TABLE_H

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace llmproxy
{

// Things by id: the low 24 bits of an id are a place, which is used again, and
// the others tell apart who had it, for as long as anything runs.
template <typename T>
class PlaceTable
{
public:
    // Never 0, and not given again: a thousand a second last 34 years.
    uint64_t put(std::unique_ptr<T> thing)
    {
        if (free_.empty()) {
            free_.push_back(static_cast<uint32_t>(places_.size()));
            places_.emplace_back();
        }
        const uint32_t at = free_.back();
        free_.pop_back();
        Place &place = places_[at];
        place.id = ++serial_ << kPlaceBits | at;
        place.thing = std::move(thing);
        return place.id;
    }

    // nullptr of one that was taken.
    T *find(uint64_t id) const
    {
        const size_t at = place_of(id);
        return at < places_.size() && places_[at].id == id
                   ? places_[at].thing.get()
                   : nullptr;
    }

    std::unique_ptr<T> take(uint64_t id)
    {
        if (find(id) == nullptr) {
            return nullptr;
        }
        const uint32_t at = place_of(id);
        places_[at].id = 0;
        free_.push_back(at);
        return std::move(places_[at].thing);
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

    template <typename Test>
    bool any(Test test) const
    {
        return std::any_of(places_.begin(), places_.end(),
                           [&test](const Place &place) {
                               return place.id != 0 && test(*place.thing);
                           });
    }

private:
    struct Place {
        uint64_t id = 0; // 0 = free
        std::unique_ptr<T> thing;
    };

    static constexpr int kPlaceBits = 24;

    static uint32_t place_of(uint64_t id)
    {
        return static_cast<uint32_t>(id & ((uint64_t{1} << kPlaceBits) - 1));
    }

    std::vector<Place> places_;
    std::vector<uint32_t> free_;
    uint64_t serial_ = 0;
};

} // namespace llmproxy

#endif
