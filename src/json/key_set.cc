// The keys that an object has had so far.
#include "llm_proxy/json/key_set.h"

namespace llmproxy::json
{

bool KeySet::add(std::string_view key)
{
    const size_t begin = keys_.size() - 1; // the end of the key before it
    keys_ += key;
    keys_ += kEnd;
    const std::string_view keys = keys_;
    const auto first = static_cast<unsigned char>(keys[begin + 1]);
    const uint64_t trait = UINT64_C(1) << (key.size() + first) % 64;
    const bool seen = (traits_ & trait) != 0;
    if (seen && keys.find(keys.substr(begin)) != begin) {
        keys_.resize(begin + 1);
        return false;
    }
    traits_ |= trait;
    count_++;
    return true;
}

} // namespace llmproxy::json
