// limit/receipt and receipt_book: who may say that a request was charged.

#include "llm_proxy/base/log.h"
#include "llm_proxy/limit/receipt.h"
#include "llm_proxy/limit/receipt_book.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";
constexpr int64_t kNow = 1790000000;

const Sha256 kToken = sha256("demo-key-123");
const Sha256 kOther = sha256("other-key-456");

ReceiptFault check(std::string_view text, int64_t now_s = kNow,
                   const Sha256 &token = kToken,
                   std::string_view secret = kSecret)
{
    Receipt receipt;
    return check_receipt(secret, token, now_s, text, receipt);
}

Receipt of_request(const char *id)
{
    Receipt receipt;
    receipt.issued_s = kNow;
    receipt.request_id = id;
    return receipt;
}

Receipt with_unit()
{
    Receipt receipt = of_request("req-1");
    receipt.counter = "redis";
    receipt.stamp = {1'790'000'000'123, 20717};
    return receipt;
}

void assert_fault(ReceiptFault found, ReceiptFault wanted)
{
    assert_string_equal(receipt_fault_name(found), receipt_fault_name(wanted));
}

// RFC 4231, test cases 2 and 6.
void hmac_is_the_standards(void **)
{
    assert_string_equal(
        hex(hmac_sha256("Jefe", "what do ya want for nothing?")).c_str(),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_string_equal(
        hex(hmac_sha256(std::string(131, '\xaa'),
                        "Test Using Larger Than Block-Size Key - Hash Key "
                        "First"))
            .c_str(),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

void a_receipt_is_good_for_half_a_minute(void **)
{
    const std::string text = make_receipt(kSecret, kToken, of_request("req-1"));
    assert_true(text.rfind("v1;1790000000;req-1;", 0) == 0);
    assert_int_equal(text.size(), 20 + 16 + 1 + 64);
    Receipt receipt;
    for (const int64_t age : {0, 300, -30}) {
        assert_fault(check_receipt(kSecret, kToken, kNow + age, text, receipt),
                     ReceiptFault::None);
        assert_string_equal(receipt.request_id.c_str(), "req-1");
        assert_int_equal(receipt.issued_s, kNow);
        assert_true(receipt.counter.empty());
    }
    assert_fault(check(text, kNow + 301), ReceiptFault::Stale);
    assert_fault(check(text, kNow - 31), ReceiptFault::Stale);
    assert_fault(check(text, kNow + 3600), ReceiptFault::Stale);
}

void it_says_which_unit_it_is_of(void **)
{
    const std::string text = make_receipt(kSecret, kToken, with_unit());
    Receipt receipt;
    assert_fault(check_receipt(kSecret, kToken, kNow, text, receipt),
                 ReceiptFault::None);
    assert_string_equal(receipt.request_id.c_str(), "req-1");
    assert_string_equal(receipt.counter.c_str(), "redis");
    assert_true(receipt.stamp.minute_start_ms == 1'790'000'000'123);
    assert_int_equal(receipt.stamp.day, 20717);
    assert_string_equal(make_receipt(kSecret, kToken, receipt).c_str(),
                        text.c_str());
    assert_true(text.find(":redis:1790000000123:20717;") == 20 + 16);
    const std::string front = text.substr(0, text.find(":redis"));
    for (const char *unit : {":redis", "::1:2", ":redis:1", ":redis:1:x",
                             ":redis:1:2:3", ":redis:-1:2"}) {
        const std::string words = front + unit + ";";
        assert_fault(check(words + hex(hmac_sha256(kSecret, words))),
                     ReceiptFault::Malformed);
    }
}

void nobody_else_can_make_one(void **)
{
    const std::string receipt = make_receipt(kSecret, kToken, with_unit());
    assert_fault(check(receipt, kNow, kOther), ReceiptFault::OtherToken);
    assert_fault(check(receipt, kNow, kToken, "another secret of theirs"),
                 ReceiptFault::Forged);
    for (size_t at = 0; at < receipt.size(); at++) {
        std::string changed = receipt;
        changed[at] = changed[at] == '1' ? '2' : '1';
        assert_true(check(changed) != ReceiptFault::None);
        assert_true(check(receipt.substr(0, at)) != ReceiptFault::None);
    }
    for (const char *text :
         {"", "1", ";", ";;;;", "v1;;;;", "v2;1790000000;a;b;c",
          "v1;99999999999999999999;a;0123456789abcdef;00"}) {
        assert_fault(check(text), ReceiptFault::Malformed);
    }
}

ReceiptBook::Answer answer_of(int64_t minute)
{
    ReceiptBook::Answer answer;
    answer.verdict.stamp.minute_start_ms = minute;
    answer.issued_s = kNow;
    return answer;
}

void asking_again_is_the_same_question(void **)
{
    ReceiptBook book(3);
    const auto minute_of = [&](const char *id, int64_t now_ms) {
        return book.repeat(id, kToken, now_ms)->verdict.stamp.minute_start_ms;
    };
    assert_false(book.repeat("a", kToken, 0).has_value());
    book.note("a", kToken, answer_of(7), 1000);
    assert_int_equal(minute_of("a", 6000), 7);
    assert_int_equal(book.repeat("a", kToken, 6000)->issued_s, kNow);
    assert_false(book.repeat("a", kToken, 6001).has_value());
    assert_false(book.repeat("a", kOther, 1000).has_value());
    assert_false(book.repeat("b", kToken, 1000).has_value());
    // The other's verdict does not replace it.
    book.note("a", kOther, answer_of(8), 1000);
    assert_int_equal(minute_of("a", 1000), 7);
    // A full book notes nothing, until something is old.
    book.note("b", kToken, answer_of(9), 2000);
    book.note("c", kToken, answer_of(10), 2000);
    book.note("d", kToken, answer_of(11), 6000);
    assert_false(book.repeat("d", kToken, 6000).has_value());
    book.note("d", kToken, answer_of(11), 6001);
    assert_int_equal(minute_of("d", 6001), 11);
    assert_int_equal(minute_of("c", 6001), 10);
}

// The n-th receipt of that second, as if it had been checked.
Receipt checked(uint64_t n, int64_t issued_s)
{
    Receipt receipt;
    receipt.issued_s = issued_s;
    memcpy(receipt.signature.data(), &n, sizeof n);
    return receipt;
}

void a_receipt_is_used_once(void **)
{
    ReceiptBook book;
    assert_fault(book.use(checked(1, kNow), 0), ReceiptFault::None);
    assert_fault(book.use(checked(1, kNow), 0), ReceiptFault::Used);
    assert_fault(book.use(checked(1, kNow), 60000), ReceiptFault::Used);
    assert_fault(book.use(checked(2, kNow), 60000), ReceiptFault::None);
    assert_fault(book.use(checked(1, kNow + 1), 60000), ReceiptFault::None);
}

// Ten thousand a second, for longer than any is remembered: each counts once,
// and the oldest that can still be shown is known.
void millions_are_told_apart(void **)
{
    constexpr uint64_t rate = 10'000;
    constexpr int64_t seconds = 150;
    ReceiptBook book;
    for (int64_t s = 0; s < seconds; s++) {
        for (uint64_t n = 0; n < rate; n++) {
            const int64_t now_ms = s * 1000 + static_cast<int64_t>(n / 10);
            assert_true(book.use(checked(n, kNow + s), now_ms) ==
                        ReceiptFault::None);
        }
        const int64_t oldest = std::max<int64_t>(s - 60, 0);
        for (uint64_t n = 0; n < rate; n += 100) {
            assert_true(book.use(checked(n, kNow + oldest), s * 1000 + 999) ==
                        ReceiptFault::Used);
        }
    }
}

void a_full_book_takes_no_receipt(void **)
{
    ReceiptBook book(10, 2);
    assert_fault(book.use(checked(1, kNow), 0), ReceiptFault::None);
    assert_fault(book.use(checked(2, kNow + 1), 1000), ReceiptFault::None);
    assert_fault(book.use(checked(3, kNow + 2), 2000), ReceiptFault::TooMany);
    assert_fault(book.use(checked(1, kNow), 331000), ReceiptFault::Used);
    // By now the first one is stale, and its place is free.
    assert_fault(book.use(checked(3, kNow + 2), 331001), ReceiptFault::None);
    assert_fault(book.use(checked(2, kNow + 1), 331001), ReceiptFault::Used);
}

void a_full_book_says_so_once(void **)
{
    char name[] = "/tmp/llmproxy-receipts-XXXXXX";
    const int fd = mkstemp(name);
    assert_true(fd >= 0);
    Error err;
    assert_true(log_configure(LogLevel::Info, LogFormat::Text, name, err));
    ReceiptBook book(10, 1);
    assert_fault(book.use(checked(1, kNow), 0), ReceiptFault::None);
    for (uint64_t n = 2; n < 9; n++) {
        assert_fault(book.use(checked(n, kNow), 0), ReceiptFault::TooMany);
    }
    assert_true(log_configure(LogLevel::Info, LogFormat::Text, "", err));
    char text[4096] = "";
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    unlink(name);
    const char *said = strstr(text, "more than 1 receipts were used");
    assert_non_null(said);
    assert_null(strstr(said + 1, "more than"));
}

// What one book is told, a second one knows.
class Copier final : public ReceiptWitness
{
public:
    explicit Copier(ReceiptBook &book) : book_(book) {}
    void on_receipt(const ReceiptNote &note) override
    {
        ReceiptNote read;
        assert_true(parse_receipt_note(format_receipt_note(note), read));
        book_.merge(read, note.at_ms);
    }

private:
    ReceiptBook &book_;
};

void two_books_know_the_same(void **)
{
    ReceiptBook first;
    ReceiptBook second;
    Copier copier(second);
    first.note("before", kToken, answer_of(7), 1000);
    assert_fault(first.use(checked(1, kNow), 1000), ReceiptFault::None);
    for (const ReceiptNote &note : first.watch(&copier)) {
        copier.on_receipt(note);
    }
    first.note("after", kToken, answer_of(8), 2000);
    assert_fault(first.use(checked(2, kNow + 1), 2500), ReceiptFault::None);
    assert_int_equal(
        second.repeat("before", kToken, 2000)->verdict.stamp.minute_start_ms,
        7);
    assert_int_equal(
        second.repeat("after", kToken, 3000)->verdict.stamp.minute_start_ms, 8);
    assert_false(second.repeat("after", kOther, 3000).has_value());
    assert_false(second.repeat("before", kToken, 6001).has_value());
    assert_fault(second.use(checked(1, kNow), 3000), ReceiptFault::Used);
    assert_fault(second.use(checked(2, kNow + 1), 3000), ReceiptFault::Used);
    assert_fault(second.use(checked(3, kNow + 1), 3000), ReceiptFault::None);
    (void)first.watch(nullptr);
    first.note("alone", kToken, answer_of(9), 3000);
    assert_false(second.repeat("alone", kToken, 3000).has_value());
}

void a_note_is_read_as_it_was_written(void **)
{
    ReceiptNote charged = {"an-id", kToken, -5, kNow, answer_of(-1).verdict};
    charged.verdict.rpm = UINT64_MAX;
    charged.verdict.reset_day_ms = INT64_MIN;
    charged.verdict.outcome = LimitVerdict::Outcome::DeniedDay;
    charged.verdict.stamp.source = LimitStamp::Source::StandIn;
    ReceiptNote read;
    for (const ReceiptNote &note :
         {charged, ReceiptNote{"", kOther, 6, kNow, {}}}) {
        const std::string line = format_receipt_note(note);
        assert_true(parse_receipt_note(line, read));
        assert_string_equal(format_receipt_note(read).c_str(), line.c_str());
        assert_int_equal(read.at_ms, note.at_ms);
        assert_true(read.verdict.outcome == note.verdict.outcome);
        assert_true(read.verdict.reset_day_ms == note.verdict.reset_day_ms);
        for (size_t size = 0; size < line.size(); size++) {
            if (line[size] == ' ') {
                assert_false(parse_receipt_note(line.substr(0, size), read));
            }
        }
        assert_false(parse_receipt_note(line + " 1", read));
        assert_false(parse_receipt_note("x" + line, read));
    }
    assert_false(parse_receipt_note("used zz 1 0", read));
    assert_false(parse_receipt_note("", read));
}

void only_one_thread_uses_it(void **)
{
    ReceiptBook book;
    std::atomic<int> used{0};
    const auto work = [&] {
        for (uint64_t i = 0; i < 2000; i++) {
            used += book.use(checked(i, kNow), 0) == ReceiptFault::None ? 1 : 0;
        }
    };
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (int i = 0; i < 4; i++) {
        threads.emplace_back(work);
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    assert_int_equal(used, 2000);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(hmac_is_the_standards),
        cmocka_unit_test(a_receipt_is_good_for_half_a_minute),
        cmocka_unit_test(it_says_which_unit_it_is_of),
        cmocka_unit_test(nobody_else_can_make_one),
        cmocka_unit_test(asking_again_is_the_same_question),
        cmocka_unit_test(a_receipt_is_used_once),
        cmocka_unit_test(millions_are_told_apart),
        cmocka_unit_test(a_full_book_takes_no_receipt),
        cmocka_unit_test(a_full_book_says_so_once),
        cmocka_unit_test(two_books_know_the_same),
        cmocka_unit_test(a_note_is_read_as_it_was_written),
        cmocka_unit_test(only_one_thread_uses_it),
    };
    return cmocka_run_group_tests_name("receipt", tests, nullptr, nullptr);
}
