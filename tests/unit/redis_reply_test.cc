// limit/redis_reply: the script's numbers as verdicts, nonsense as none, and
// error texts as faults.

#include <string_view>

#include "../../src/limit/redis_command.h"
#include "../../src/limit/redis_reply.h"
#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

constexpr int64_t kDay = 86'400'000;

Account account(uint64_t rpm, uint64_t rpd)
{
    Principal principal;
    principal.rpm = rpm;
    principal.rpd = rpd;
    return Account(principal);
}

RedisReply numbers(std::array<int64_t, 8> values)
{
    RedisReply reply;
    reply.kind = RedisReply::Kind::Numbers;
    reply.numbers = values;
    return reply;
}

} // namespace

static void grants_and_denials(void **)
{
    LimitVerdict v;
    assert_true(read_verdict(
        numbers({1, 0, 59, 60'000, 999, kDay, 1'700'000'000'000, 19'675}),
        account(60, 1000), v));
    assert_int_equal(v.outcome, LimitVerdict::Outcome::Admitted);
    assert_int_equal(v.rpm, 60);
    assert_int_equal(v.remaining_minute, 59);
    assert_int_equal(v.reset_minute_ms, 60'000);
    assert_int_equal(v.remaining_day, 999);
    assert_int_equal(v.reset_day_ms, kDay);
    assert_true(v.stamp.minute_start_ms == 1'700'000'000'000);
    assert_int_equal(v.stamp.day, 19'675);
    assert_int_equal(v.stamp.source, LimitStamp::Source::Store);

    assert_true(
        read_verdict(numbers({0, 1, 0, 5, -1, 7, 1, 1}), account(60, 0), v));
    assert_int_equal(v.outcome, LimitVerdict::Outcome::DeniedMinute);
    assert_int_equal(v.remaining_day, 0);
    // No window of a minute: nothing to wait for there.
    assert_true(read_verdict(numbers({0, 2, -1, 60'000, 0, 7, 0, 1}),
                             account(0, 3), v));
    assert_int_equal(v.outcome, LimitVerdict::Outcome::DeniedDay);
    assert_int_equal(v.reset_minute_ms, 0);
    assert_int_equal(v.reset_day_ms, 7);
}

static void nonsense_is_no_verdict(void **)
{
    const Account who = account(10, 20);
    const std::array<int64_t, 8> good = {1, 0, 9, 1, 19, 1, 1, 1};
    static const struct {
        size_t at;
        int64_t value;
    } table[] = {
        {0, 2},  {0, -1},           {0, 0},  {1, 1},      {1, -1}, {2, -1},
        {2, 11}, {2, INT64_MIN},    {3, -1}, {3, 60'001}, {4, -1}, {4, 21},
        {5, -1}, {5, 2 * kDay + 1}, {6, -1}, {7, -1},
    };
    LimitVerdict v;
    assert_true(read_verdict(numbers(good), who, v));
    for (const auto &row : table) {
        std::array<int64_t, 8> bad = good;
        bad[row.at] = row.value;
        v.rpm = 77;
        assert_false(read_verdict(numbers(bad), who, v));
        assert_int_equal(v.rpm, 77);
    }
    // A limit that the token does not have.
    assert_false(read_verdict(numbers(good), account(10, 0), v));
    RedisReply text = numbers(good);
    text.kind = RedisReply::Kind::Text;
    assert_false(read_verdict(text, who, v));
}

static void a_new_receipt_is_said_in_one_way(void **)
{
    assert_true(is_new_receipt(numbers({2, 0, 0, 0, 0, 0, 0, 0})));
    assert_false(is_new_receipt(numbers({1, 0, 9, 1, 19, 1, 1, 1})));
    for (size_t i = 0; i < 8; i++) {
        std::array<int64_t, 8> bad = {2, 0, 0, 0, 0, 0, 0, 0};
        bad[i]++;
        assert_false(is_new_receipt(numbers(bad)));
    }
    RedisReply text = numbers({2, 0, 0, 0, 0, 0, 0, 0});
    text.kind = RedisReply::Kind::Text;
    assert_false(is_new_receipt(text));
}

static void errors_have_a_kind(void **)
{
    static const struct {
        const char *text;
        const char *kind;
        Reaction reaction;
    } table[] = {
        {"NOSCRIPT No matching script.", "noscript", Reaction::SendBody},
        {"WRONGTYPE Operation against a key", "wrongtype", Reaction::ThisKey},
        {"READONLY You can't write", "readonly", Reaction::Reconnect},
        {"ERR Error running script (call to f_1): @user_script:3: "
         "@user_script: 3: -READONLY You can't write",
         "readonly", Reaction::Reconnect},
        {"ERR Error running script (call to f_1): @user_script:5: WRONGTYPE "
         "Operation",
         "wrongtype", Reaction::ThisKey},
        {"NOAUTH Authentication required.", "noauth", Reaction::Slow},
        {"NOPERM this user", "noperm", Reaction::Slow},
        {"ERR max number of clients reached", "maxclients",
         Reaction::Reconnect},
        {"OOM command not allowed", "oom", Reaction::Decide},
        {"MOVED 1 127.0.0.1:1", "cluster", Reaction::Decide},
        {"", "error", Reaction::Decide},
        {"OO", "error", Reaction::Decide},
    };
    for (const auto &row : table) {
        const StoreFault &fault = find_fault(row.text);
        assert_string_equal(fault.kind, row.kind);
        assert_int_equal(fault.reaction, row.reaction);
    }
}

static void keys_hold_a_part_of_the_digest(void **)
{
    assert_string_equal(redis_key(sha256("demo-key-123")).c_str(),
                        "llmp:{a52782e3a2d4dd2f95f640b9abfb3b2a}");
    assert_string_equal(
        redis_receipt_key(sha256("demo-key-123"), "req_1").c_str(),
        "llmp:{a52782e3a2d4dd2f95f640b9abfb3b2a}:req_1");
    assert_true(script_limit(5) == 5);
    assert_true(script_limit(UINT64_MAX) == 1'000'000'000'000'000);
}

static void commands_are_words_behind_their_lengths(void **)
{
    RedisCommand command;
    // Twice: nothing of the first is left.
    for (int i = 0; i < 2; i++) {
        command.begin(4);
        command.add("PING");
        command.add("");
        command.add(std::string_view("\r\n\0x", 4));
        command.add_number(UINT64_MAX);
        assert_true(
            command.bytes() ==
            std::string("*4\r\n$4\r\nPING\r\n$0\r\n\r\n$4\r\n\r\n\0x\r\n"
                        "$20\r\n18446744073709551615\r\n",
                        57));
    }
    command.begin(12);
    command.add(std::string(1234, 'x'));
    assert_true(command.bytes() ==
                "*12\r\n$1234\r\n" + std::string(1234, 'x') + "\r\n");
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_and_denials),
        cmocka_unit_test(nonsense_is_no_verdict),
        cmocka_unit_test(a_new_receipt_is_said_in_one_way),
        cmocka_unit_test(errors_have_a_kind),
        cmocka_unit_test(keys_hold_a_part_of_the_digest),
        cmocka_unit_test(commands_are_words_behind_their_lengths),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
