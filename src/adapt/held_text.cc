// Collects an answer in blocks.

#include "held_text.h"

#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <utility>

namespace llmproxy
{

namespace
{

constexpr size_t kBlock = size_t{256} << 10;

} // namespace

void HeldText::append(std::string_view text)
{
    size_ += text.size();
    // The first block grows as any string does: most answers are short.
    if (blocks_.empty()) {
        blocks_.emplace_back();
    } else if (blocks_.back().size() + text.size() > kBlock) {
        blocks_.emplace_back();
        blocks_.back().reserve(std::max(kBlock, text.size()));
    }
    blocks_.back().append(text);
}

std::string HeldText::take()
{
    std::string out;
    if (blocks_.size() == 1) {
        out = std::move(blocks_[0]);
    } else {
        out.reserve(size_);
        for (std::string &block : blocks_) {
            out += block;
            free_text(block);
        }
    }
    blocks_.clear();
    size_ = 0;
    return out;
}

} // namespace llmproxy
