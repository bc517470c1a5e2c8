// Remembers charged requests for as long as their receipts are good. What is
// forgotten can no longer be told from what was never seen, so nothing is
// forgotten early: a full book takes no new receipt.

#include "llm_proxy/limit/receipt_book.h"

#include "llm_proxy/base/log.h"

#include <algorithm>
#include <cstring>

namespace llmproxy
{

namespace
{

// nginx runs auth_request anew for each internal redirect of a request.
constexpr int64_t kRepeatMs = 5000;
// Freeing all that a busy minute left would hold the others up.
constexpr int kSecondsAtOnce = 2;

} // namespace

ReceiptBook::Mark ReceiptBook::mark_of(const Sha256 &signature)
{
    Mark mark;
    std::copy_n(signature.begin(), mark.size(), mark.begin());
    return mark;
}

size_t ReceiptBook::MarkHash::operator()(const Mark &mark) const noexcept
{
    size_t hash = 0;
    memcpy(&hash, mark.data(), sizeof hash);
    return hash;
}

void ReceiptBook::forget_old(int64_t now_ms)
{
    while (!order_.empty() &&
           now_ms - order_.front()->second.noted_ms > kRepeatMs) {
        asked_.erase(asked_.find(order_.front()->first));
        order_.pop_front();
    }
    for (int i = 0; i < kSecondsAtOnce && !seconds_.empty(); i++) {
        const auto oldest = seconds_.begin();
        if (now_ms - oldest->second.last_ms <= kReceiptMemoryMs) {
            break;
        }
        used_ -= oldest->second.used.size();
        seconds_.erase(oldest);
    }
}

std::optional<ReceiptBook::Answer>
ReceiptBook::repeat(const std::string &request_id, const Sha256 &token,
                    int64_t now_ms)
{
    const std::lock_guard<std::mutex> guard(lock_);
    const auto found = asked_.find(request_id);
    if (found == asked_.end() || found->second.token != token ||
        now_ms - found->second.noted_ms > kRepeatMs) {
        return std::nullopt;
    }
    return found->second.answer;
}

// Under the lock; false if it is known, or there are too many.
bool ReceiptBook::add(const std::string &request_id, const Entry &entry)
{
    if (asked_.size() >= most_asked_) {
        return false;
    }
    const auto [at, is_new] = asked_.try_emplace(request_id, entry);
    if (is_new) {
        order_.push_back(&*at);
    }
    return is_new;
}

// Under the lock.
ReceiptFault ReceiptBook::add(const Mark &mark, int64_t issued_s,
                              int64_t now_ms)
{
    const auto second = seconds_.find(issued_s);
    if (second != seconds_.end() && second->second.used.count(mark) != 0) {
        return ReceiptFault::Used;
    }
    if (used_ >= most_used_) {
        if (!told_) {
            told_ = true;
            log_warning("more than %zu receipts were used in %d s: requests "
                        "with others are charged again",
                        most_used_, static_cast<int>(kReceiptMemoryMs / 1000));
        }
        return ReceiptFault::TooMany;
    }
    Second &issued = seconds_[issued_s];
    issued.used.insert(mark);
    issued.last_ms = std::max(issued.last_ms, now_ms);
    used_++;
    return ReceiptFault::None;
}

void ReceiptBook::note(const std::string &request_id, const Sha256 &token,
                       const Answer &answer, int64_t now_ms)
{
    const std::lock_guard<std::mutex> guard(lock_);
    forget_old(now_ms);
    if (add(request_id, {token, now_ms, answer}) && witness_ != nullptr) {
        witness_->on_receipt(
            {request_id, token, now_ms, answer.issued_s, answer.verdict});
    }
}

ReceiptFault ReceiptBook::use(const Receipt &receipt, int64_t now_ms)
{
    const std::lock_guard<std::mutex> guard(lock_);
    forget_old(now_ms);
    const ReceiptFault fault =
        add(mark_of(receipt.signature), receipt.issued_s, now_ms);
    if (fault == ReceiptFault::None && witness_ != nullptr) {
        witness_->on_receipt(
            {"", receipt.signature, now_ms, receipt.issued_s, {}});
    }
    return fault;
}

std::vector<ReceiptNote> ReceiptBook::watch(ReceiptWitness *witness)
{
    const std::lock_guard<std::mutex> guard(lock_);
    witness_ = witness;
    std::vector<ReceiptNote> all;
    all.reserve(order_.size() + used_);
    for (const Entries::value_type *known : order_) {
        const auto &[request_id, entry] = *known;
        all.push_back({request_id, entry.token, entry.noted_ms,
                       entry.answer.issued_s, entry.answer.verdict});
    }
    for (const auto &[issued_s, second] : seconds_) {
        for (const Mark &mark : second.used) {
            ReceiptNote note;
            std::copy(mark.begin(), mark.end(), note.digest.begin());
            note.at_ms = second.last_ms;
            note.issued_s = issued_s;
            all.push_back(note);
        }
    }
    return all;
}

void ReceiptBook::merge(const ReceiptNote &note, int64_t now_ms)
{
    const std::lock_guard<std::mutex> guard(lock_);
    forget_old(now_ms);
    if (note.request_id.empty()) {
        (void)add(mark_of(note.digest), note.issued_s, note.at_ms);
    } else {
        (void)add(note.request_id,
                  {note.digest, note.at_ms, {note.verdict, note.issued_s}});
    }
}

} // namespace llmproxy
