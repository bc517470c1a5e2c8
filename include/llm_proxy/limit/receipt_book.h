#ifndef LLM_PROXY_LIMIT_RECEIPT_BOOK_H
#define LLM_PROXY_LIMIT_RECEIPT_BOOK_H

#include "llm_proxy/base/digest.h"
#include "llm_proxy/limit/limiter.h"
#include "llm_proxy/limit/receipt.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace llmproxy
{

// What a book was told, for the book of another process.
struct ReceiptNote {
    std::string request_id; // that was charged; empty: a receipt was used
    Sha256 digest{}; // of the request's token, or the receipt's signature
    int64_t at_ms = 0;
    int64_t issued_s = 0; // of the receipt
    LimitVerdict verdict; // of the request
};
// One line without its end; any bytes that are not such a line are refused.
std::string format_receipt_note(const ReceiptNote &note);
[[nodiscard]] bool parse_receipt_note(std::string_view line, ReceiptNote &out);

class ReceiptWitness
{
public:
    // Any thread; from within the book's calls, with its lock held.
    virtual void on_receipt(const ReceiptNote &note) = 0;

protected:
    ~ReceiptWitness() = default;
};

// What this process knows of charged requests: for 5 s the verdict that each
// was given, so that asking again charges nothing; and for as long as one may
// be shown again, which receipts were used. Shared by every worker; any
// thread. Times are the monotonic clock's, in ms.
class ReceiptBook
{
public:
    // About 30 and 80 MiB, when full.
    static constexpr size_t kMostAsked = 131'072;
    static constexpr size_t kMostUsed = 2'097'152;

    explicit ReceiptBook(size_t most_asked = kMostAsked,
                         size_t most_used = kMostUsed)
        : most_asked_(most_asked), most_used_(most_used)
    {
    }

    struct Answer {
        LimitVerdict verdict;
        int64_t issued_s = 0; // of the receipt: it is the same one again
    };
    // What this request was told in the last 5 s; nullopt if it was not
    // heard of, or as another token's.
    std::optional<Answer> repeat(const std::string &request_id,
                                 const Sha256 &token, int64_t now_ms);
    // Where too many were noted in 5 s, the next are asked about anew.
    void note(const std::string &request_id, const Sha256 &token,
              const Answer &answer, int64_t now_ms);
    // None for the first to show this receipt, which has been checked; Used;
    // or TooMany, which the log says once.
    [[nodiscard]] ReceiptFault use(const Receipt &receipt, int64_t now_ms);

    // From now on `witness` hears of all that is noted and used here; nullptr
    // = nobody. Returns what is known already.
    std::vector<ReceiptNote> watch(ReceiptWitness *witness);
    // What another process' book was told.
    void merge(const ReceiptNote &note, int64_t now_ms);

private:
    struct Entry {
        Sha256 token{};
        int64_t noted_ms = 0;
        Answer answer;
    };
    using Entries = std::unordered_map<std::string, Entry>;
    // Half a signature tells receipts apart as surely as all of it.
    using Mark = std::array<uint8_t, 16>;
    static Mark mark_of(const Sha256 &signature);
    struct MarkHash {
        size_t operator()(const Mark &mark) const noexcept;
    };
    // Those that were issued in the same second.
    struct Second {
        std::unordered_set<Mark, MarkHash> used;
        int64_t last_ms = 0; // when the last one was
    };
    // Under the lock.
    void forget_old(int64_t now_ms);
    bool add(const std::string &request_id, const Entry &entry);
    ReceiptFault add(const Mark &mark, int64_t issued_s, int64_t now_ms);

    const size_t most_asked_;
    const size_t most_used_;
    std::mutex lock_; // guards what follows
    ReceiptWitness *witness_ = nullptr;
    Entries asked_;
    std::deque<const Entries::value_type *> order_; // of those, oldest first
    std::map<int64_t, Second> seconds_;             // by Receipt::issued_s
    size_t used_ = 0;                               // in all of them
    bool told_ = false;                             // that it is full
};

} // namespace llmproxy

#endif
