// limit/day_counters: the text of the state file, and the table's way there
// and back.

#include "llm_proxy/limit/day_counters.h"
#include "llm_proxy/limit/memory_limiter.h"

#include <string>
#include <vector>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

constexpr int64_t kDayMs = 86400 * 1000LL;

struct FixedClock final : Clock {
    int64_t mono_ms() const override { return 5000; }
    int64_t wall_ms() const override { return wall; }
    int64_t wall = 20785 * kDayMs + 1000;
};

std::vector<DayCounter> some_counters()
{
    std::vector<DayCounter> counters(3);
    for (size_t i = 0; i < counters.size(); i++) {
        counters[i].digest[0] = static_cast<uint8_t>(i + 1);
        counters[i].day = 20785;
        counters[i].used = i == 2 ? UINT64_MAX : i + 7;
    }
    return counters;
}

void assert_refused(const std::string &text, const char *message)
{
    std::vector<DayCounter> out(1);
    Error err;
    assert_false(parse_day_counters(text, out, err));
    assert_string_equal(err.message.c_str(), message);
    assert_int_equal(out.size(), 1);
}

void what_is_written_is_read(void **)
{
    for (const std::vector<DayCounter> &counters :
         {some_counters(), std::vector<DayCounter>()}) {
        std::vector<DayCounter> read;
        Error err;
        assert_true(
            parse_day_counters(format_day_counters(counters), read, err));
        assert_int_equal(read.size(), counters.size());
        for (size_t i = 0; i < counters.size(); i++) {
            assert_true(read[i].digest == counters[i].digest);
            assert_true(read[i].day == counters[i].day);
            assert_true(read[i].used == counters[i].used);
        }
    }
}

void every_cut_and_every_changed_byte_is_noticed(void **)
{
    const std::string whole = format_day_counters(some_counters());
    std::vector<DayCounter> out;
    Error err;
    for (size_t size = 0; size < whole.size(); size++) {
        assert_false(parse_day_counters(whole.substr(0, size), out, err));
    }
    for (size_t at = 0; at < whole.size(); at++) {
        for (const char byte : {'0', 'g', '\n', '\0', ' ', '\xff'}) {
            std::string changed = whole;
            changed[at] = byte;
            if (changed != whole) {
                assert_false(parse_day_counters(changed, out, err));
            }
        }
    }
    assert_true(out.empty());
}

void damage_is_named(void **)
{
    const std::string whole = format_day_counters(some_counters());
    assert_refused("", "line 1: the checksum is missing");
    assert_refused("hello\n", "line 1: not a state file of this version");
    assert_refused(whole + "x", "line 5: does not end the file");
    assert_refused(whole.substr(0, whole.find('\n') + 1) + "0 1 2\n",
                   "line 2: not a counter");
    std::string edited = whole;
    edited.replace(edited.find(" 7\n"), 3, " 6\n");
    assert_refused(edited, "line 5: the checksum is wrong");
}

Principal principal_of(uint8_t id)
{
    Principal principal;
    principal.digest[0] = id;
    principal.label = std::to_string(id);
    principal.rpd = 10;
    return principal;
}

void a_table_goes_on_where_another_ended(void **)
{
    FixedClock clock;
    std::string why;
    TokenTable tokens;
    assert_true(tokens.add(principal_of(1), why));
    assert_true(tokens.add(principal_of(2), why));
    MemoryLimitTable before(clock);
    before.assign_slots(tokens);
    for (int i = 0; i < 4; i++) {
        (void)before.admit(tokens.principals()[0]);
    }
    const std::vector<DayCounter> counters = before.day_counters();
    assert_int_equal(counters.size(), 1); // the other used nothing
    assert_int_equal(counters[0].used, 4);

    MemoryLimitTable after(clock);
    after.restore(counters);
    after.assign_slots(tokens);
    assert_int_equal(after.peek(tokens.principals()[0]).remaining_day, 6);
    assert_int_equal(after.peek(tokens.principals()[1]).remaining_day, 10);
    // A token that nobody has configured yet is not forgotten.
    MemoryLimitTable without(clock);
    without.restore(counters);
    assert_int_equal(without.day_counters().size(), 1);
}

void yesterdays_counters_count_no_more(void **)
{
    FixedClock clock;
    std::string why;
    TokenTable tokens;
    assert_true(tokens.add(principal_of(1), why));
    MemoryLimitTable table(clock);
    std::vector<DayCounter> counters(1);
    counters[0] = {principal_of(1).digest, 20784, 10};
    table.restore(counters);
    table.assign_slots(tokens);
    assert_int_equal(table.peek(tokens.principals()[0]).remaining_day, 10);
    assert_true(table.day_counters().empty());
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_cut_and_every_changed_byte_is_noticed),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(a_table_goes_on_where_another_ended),
        cmocka_unit_test(yesterdays_counters_count_no_more),
    };
    return cmocka_run_group_tests_name("day_counters", tests, nullptr, nullptr);
}
