// What a book was told as a line: from process to process.

#include "llm_proxy/base/strings.h"
#include "llm_proxy/limit/receipt_book.h"

#include <utility>

namespace llmproxy
{

namespace
{

// "charged TOKEN AT ISSUED ID ..." with the numbers of the verdict, or
// "used SIGNATURE AT ISSUED".
constexpr std::string_view kCharged = "charged";
constexpr std::string_view kUsed = "used";

// All numbers of a verdict, in the order of the line. Times of the past and
// of windows that never were are negative, so all are written as unsigned.
template <typename Visit>
void each_number(LimitVerdict &verdict, Visit visit)
{
    visit(verdict.rpm);
    visit(verdict.rpd);
    visit(verdict.remaining_minute);
    visit(verdict.remaining_day);
    visit(verdict.reset_minute_ms);
    visit(verdict.reset_day_ms);
    visit(verdict.stamp.minute_start_ms);
    visit(verdict.stamp.day);
}

void append_word(std::string &out, uint64_t number)
{
    out += ' ';
    append_u64(out, number);
}

} // namespace

std::string format_receipt_note(const ReceiptNote &note)
{
    const bool was_used = note.request_id.empty();
    std::string line(was_used ? kUsed : kCharged);
    line += ' ';
    line += hex(note.digest);
    append_word(line, static_cast<uint64_t>(note.at_ms));
    append_word(line, static_cast<uint64_t>(note.issued_s));
    if (!was_used) {
        line += ' ';
        line += note.request_id;
        LimitVerdict verdict = note.verdict;
        append_word(line, static_cast<uint64_t>(verdict.outcome));
        append_word(line, static_cast<uint64_t>(verdict.stamp.source));
        each_number(verdict, [&line](const auto &number) {
            append_word(line, static_cast<uint64_t>(number));
        });
    }
    return line;
}

bool parse_receipt_note(std::string_view line, ReceiptNote &out)
{
    const std::vector<std::string_view> words = split_list(line, ' ');
    size_t at = 2;
    bool ok = words.size() > at;
    const auto next = [&words, &at, &ok] {
        uint64_t number = 0;
        ok = ok && at < words.size() && parse_u64(words[at], number);
        at++;
        return number;
    };
    ReceiptNote note;
    note.at_ms = static_cast<int64_t>(next());
    note.issued_s = static_cast<int64_t>(next());
    if (!ok || !parse_hex(words[1], note.digest)) {
        return false;
    }
    if (words[0] == kCharged && at < words.size()) {
        note.request_id = std::string(words[at]);
        at++;
        const uint64_t outcome = next();
        const uint64_t source = next();
        each_number(note.verdict, [&next](auto &number) {
            number = static_cast<std::decay_t<decltype(number)>>(next());
        });
        if (outcome > static_cast<uint64_t>(LimitVerdict::Outcome::Charged) ||
            source > static_cast<uint64_t>(LimitStamp::Source::Nobody)) {
            return false;
        }
        note.verdict.outcome = static_cast<LimitVerdict::Outcome>(outcome);
        note.verdict.stamp.source = static_cast<LimitStamp::Source>(source);
    } else if (words[0] != kUsed) {
        return false;
    }
    if (!ok || at != words.size()) {
        return false;
    }
    out = std::move(note);
    return true;
}

} // namespace llmproxy
