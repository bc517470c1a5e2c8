// limit/receipt and receipt_book: who may say that a request was charged.

#include "llm_proxy/limit/receipt.h"
#include "llm_proxy/limit/receipt_book.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

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
    std::string_view id;
    return check_receipt(secret, token, now_s, text, id);
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
    const std::string receipt = make_receipt(kSecret, kToken, "req-1", kNow);
    assert_true(receipt.rfind("v1;1790000000;req-1;", 0) == 0);
    assert_int_equal(receipt.size(), 20 + 16 + 1 + 64);
    std::string_view id;
    for (const int64_t age : {0, 30, -30}) {
        assert_fault(check_receipt(kSecret, kToken, kNow + age, receipt, id),
                     ReceiptFault::None);
        assert_true(id == "req-1");
    }
    assert_fault(check(receipt, kNow + 31), ReceiptFault::Stale);
    assert_fault(check(receipt, kNow - 31), ReceiptFault::Stale);
    assert_fault(check(receipt, kNow + 3600), ReceiptFault::Stale);
}

void nobody_else_can_make_one(void **)
{
    const std::string receipt = make_receipt(kSecret, kToken, "req-1", kNow);
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

LimitVerdict verdict_of(int64_t minute)
{
    LimitVerdict verdict;
    verdict.stamp.minute_start_ms = minute;
    return verdict;
}

void asking_again_is_the_same_question(void **)
{
    ReceiptBook book;
    assert_false(book.repeat("a", kToken, 0).has_value());
    book.note("a", kToken, verdict_of(7), 1000);
    assert_int_equal(book.repeat("a", kToken, 6000)->stamp.minute_start_ms, 7);
    assert_false(book.repeat("a", kToken, 6001).has_value());
    assert_false(book.repeat("a", kOther, 1000).has_value());
    assert_false(book.repeat("b", kToken, 1000).has_value());
    // The other's verdict does not replace it.
    book.note("a", kOther, verdict_of(8), 1000);
    assert_int_equal(book.repeat("a", kToken, 1000)->stamp.minute_start_ms, 7);
}

void a_receipt_is_used_once(void **)
{
    ReceiptBook book;
    std::optional<LimitStamp> stamp;
    assert_true(book.use("theirs", kToken, 0, stamp));
    assert_false(stamp.has_value()); // another daemon charged it
    assert_false(book.use("theirs", kToken, 60000, stamp));
    book.note("ours", kToken, verdict_of(9), 0);
    assert_true(book.use("ours", kToken, 20000, stamp));
    assert_int_equal(stamp->minute_start_ms, 9);
    assert_false(book.use("ours", kToken, 20000, stamp));
}

void a_full_book_takes_no_receipt(void **)
{
    ReceiptBook book(2);
    std::optional<LimitStamp> stamp;
    assert_true(book.use("a", kToken, 0, stamp));
    assert_true(book.use("b", kToken, 1000, stamp));
    assert_false(book.use("c", kToken, 2000, stamp));
    assert_false(book.use("a", kToken, 61000, stamp));
    // By now a's receipt is stale, and its place is free.
    assert_true(book.use("c", kToken, 61001, stamp));
    assert_false(book.use("b", kToken, 61001, stamp));
}

void only_one_thread_uses_it(void **)
{
    ReceiptBook book;
    std::atomic<int> used{0};
    const auto work = [&] {
        for (int i = 0; i < 2000; i++) {
            std::optional<LimitStamp> stamp;
            used += book.use(std::to_string(i), kToken, i, stamp) ? 1 : 0;
        }
    };
    std::vector<std::thread> threads;
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
        cmocka_unit_test(nobody_else_can_make_one),
        cmocka_unit_test(asking_again_is_the_same_question),
        cmocka_unit_test(a_receipt_is_used_once),
        cmocka_unit_test(a_full_book_takes_no_receipt),
        cmocka_unit_test(only_one_thread_uses_it),
    };
    return cmocka_run_group_tests_name("receipt", tests, nullptr, nullptr);
}
