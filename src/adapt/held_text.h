#ifndef LLM_PROXY_SRC_ADAPT_HELD_TEXT_H
#define LLM_PROXY_SRC_ADAPT_HELD_TEXT_H

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy
{

// An answer that is collected before it is read. Kept in blocks, so that a
// large one is copied once, when it is read, and not each time it grows.
class HeldText
{
public:
    void append(std::string_view text);
    size_t size() const { return size_; }
    // All of it; nothing is held afterwards.
    std::string take();

private:
    std::vector<std::string> blocks_;
    size_t size_ = 0;
};

} // namespace llmproxy

#endif
