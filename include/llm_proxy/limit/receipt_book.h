#ifndef LLM_PROXY_LIMIT_RECEIPT_BOOK_H
#define LLM_PROXY_LIMIT_RECEIPT_BOOK_H

#include "llm_proxy/base/digest.h"
#include "llm_proxy/limit/limiter.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace llmproxy
{

// What is known of charged requests by their ids, for as long as a receipt is
// good: the verdict they were given, so that asking again charges nothing,
// and whether their receipt was used. Shared by every worker; any thread.
class ReceiptBook
{
public:
    // At most so many requests are remembered.
    explicit ReceiptBook(size_t capacity = 131072) : capacity_(capacity) {}

    // The verdict that this request was given in the last 5 s; nullopt if
    // none was, or to another token.
    std::optional<LimitVerdict> repeat(const std::string &request_id,
                                       const Sha256 &token, int64_t now_ms);
    void note(const std::string &request_id, const Sha256 &token,
              const LimitVerdict &verdict, int64_t now_ms);
    // Uses the request's receipt up. False if it was used before, or nobody
    // could say because the book is full of newer ones. `stamp` is filled if
    // this process charged the request, and may be used for a refund.
    [[nodiscard]] bool use(const std::string &request_id, const Sha256 &token,
                           int64_t now_ms, std::optional<LimitStamp> &stamp);

private:
    struct Entry {
        Sha256 token{};
        int64_t noted_ms = 0;
        std::optional<LimitVerdict> verdict;
        bool used = false;
    };
    using Entries = std::unordered_map<std::string, Entry>;
    // Under the lock. nullptr if there is no room for another.
    Entry *entry(const std::string &request_id, const Sha256 &token,
                 int64_t now_ms);
    void forget_old(int64_t now_ms);

    const size_t capacity_;
    std::mutex lock_; // guards what follows
    Entries entries_;
    std::deque<const Entries::value_type *> order_; // of those, oldest first
};

} // namespace llmproxy

#endif
