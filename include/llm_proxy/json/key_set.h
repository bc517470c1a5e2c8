#ifndef LLM_PROXY_JSON_KEY_SET_H
#define LLM_PROXY_JSON_KEY_SET_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy::json
{

// The keys of one object, to find those that come twice. Few objects have more
// than twenty: they stand in one string, which is looked through only for a
// key whose length and first byte, taken together, were there before.
class KeySet
{
public:
    // UTF-8. False if it is there already.
    [[nodiscard]] bool add(std::string_view key);
    size_t count() const { return count_; }
    // Of them all.
    size_t bytes() const { return keys_.size() - 1 - count_; }

private:
    static constexpr char kEnd = '\xff'; // which no UTF-8 text holds

    std::string keys_ = std::string(1, kEnd); // each between two ends
    size_t count_ = 0;
    uint64_t traits_ = 0; // a bit for each length and first byte
};

} // namespace llmproxy::json

#endif
