// Remembers charged requests for as long as their receipts are good. What is
// forgotten can no longer be told from what was never seen, so nothing is
// forgotten early: a full book takes no new receipt.

#include "llm_proxy/limit/receipt_book.h"

#include "llm_proxy/limit/receipt.h"

namespace llmproxy
{

namespace
{

// nginx runs auth_request anew for each internal redirect of a request.
constexpr int64_t kRepeatMs = 5000;

} // namespace

void ReceiptBook::forget_old(int64_t now_ms)
{
    while (!order_.empty() &&
           now_ms - order_.front()->second.noted_ms > kReceiptMemoryMs) {
        entries_.erase(entries_.find(order_.front()->first));
        order_.pop_front();
    }
}

ReceiptBook::Entry *ReceiptBook::entry(const std::string &request_id,
                                       const Sha256 &token, int64_t now_ms)
{
    forget_old(now_ms);
    if (entries_.size() >= capacity_) {
        const auto found = entries_.find(request_id);
        return found == entries_.end() ? nullptr : &found->second;
    }
    const auto [at, is_new] = entries_.try_emplace(request_id);
    if (is_new) {
        order_.push_back(&*at);
        at->second.token = token;
        at->second.noted_ms = now_ms;
    }
    return &at->second;
}

std::optional<LimitVerdict> ReceiptBook::repeat(const std::string &request_id,
                                                const Sha256 &token,
                                                int64_t now_ms)
{
    const std::lock_guard<std::mutex> guard(lock_);
    const auto found = entries_.find(request_id);
    if (found == entries_.end() || found->second.token != token ||
        now_ms - found->second.noted_ms > kRepeatMs) {
        return std::nullopt;
    }
    return found->second.verdict;
}

void ReceiptBook::note(const std::string &request_id, const Sha256 &token,
                       const LimitVerdict &verdict, int64_t now_ms)
{
    const std::lock_guard<std::mutex> guard(lock_);
    Entry *at = entry(request_id, token, now_ms);
    if (at != nullptr && at->token == token) {
        at->verdict = verdict;
    }
}

bool ReceiptBook::use(const std::string &request_id, const Sha256 &token,
                      int64_t now_ms, std::optional<LimitStamp> &stamp)
{
    const std::lock_guard<std::mutex> guard(lock_);
    Entry *at = entry(request_id, token, now_ms);
    if (at == nullptr || at->used) {
        return false;
    }
    at->used = true;
    if (at->verdict && at->token == token) {
        stamp = at->verdict->stamp;
    }
    return true;
}

} // namespace llmproxy
