// limit/local_answer: denials that are remembered, units that are taken
// ahead, and the bound of what that may cost: never one too many, and early
// denials of no more than the leases that are out.

#include <algorithm>
#include <random>
#include <vector>

#include "../../src/limit/local_answer.h"
#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

constexpr int64_t kMinute = 60'000;
constexpr int64_t kDay = 86'400'000;

Account account(uint64_t rpm, uint64_t rpd = 0)
{
    Principal principal;
    principal.rpm = rpm;
    principal.rpd = rpd;
    return Account(principal);
}

bool admitted(const LimitVerdict &verdict)
{
    return verdict.outcome == LimitVerdict::Outcome::Admitted;
}

// The script on a clock of the test's.
struct Store {
    int64_t start = -1;
    uint64_t used = 0;

    LimitVerdict take(const Account &who, uint64_t units, int64_t now)
    {
        if (start != -1 && now - start >= kMinute) {
            start = -1;
            used = 0;
        }
        LimitVerdict v;
        v.rpm = who.rpm;
        if (used + units > who.rpm) {
            v.outcome = LimitVerdict::Outcome::DeniedMinute;
        } else {
            start = start == -1 ? now : start;
            used += units;
        }
        v.remaining_minute = who.rpm - used;
        v.reset_minute_ms = start == -1 ? 0 : start + kMinute - now;
        v.reset_day_ms = kDay;
        v.stamp.minute_start_ms = start;
        return v;
    }
    void give_back(uint64_t units, const LimitStamp &stamp)
    {
        if (stamp.minute_start_ms == start && used >= units) {
            used -= units;
        }
    }
};

} // namespace

static void a_denial_holds_for_a_second(void **)
{
    const Account who = account(5, 100);
    LimitVerdict v;
    v.rpm = 5;
    v.rpd = 100;
    v.outcome = LimitVerdict::Outcome::DeniedMinute;
    v.remaining_day = 95;
    v.reset_minute_ms = 30'000;
    v.reset_day_ms = kDay;
    LocalAnswer local;
    assert_false(local.answer(who, 0).has_value());
    local.learn(v, 1, 990, 1000);
    const std::optional<LimitVerdict> got = local.answer(who, 1400);
    assert_true(got.has_value());
    assert_int_equal(got->outcome, LimitVerdict::Outcome::DeniedMinute);
    assert_int_equal(got->reset_minute_ms, 29'600);
    assert_int_equal(got->reset_day_ms, kDay - 400);
    assert_int_equal(got->remaining_day, 95);
    assert_true(local.answer(who, 1999).has_value());
    assert_false(local.answer(who, 2000).has_value());
    // Not for other limits than it was said of.
    local.learn(v, 1, 990, 1000);
    assert_false(local.answer(account(6, 100), 1400).has_value());
    // A unit that comes back ends it.
    local.refunded();
    assert_false(local.answer(who, 1400).has_value());
}

static void a_denial_ends_with_its_window(void **)
{
    const Account who = account(5);
    LimitVerdict v;
    v.rpm = 5;
    v.outcome = LimitVerdict::Outcome::DeniedMinute;
    v.reset_minute_ms = 300;
    v.reset_day_ms = kDay;
    LocalAnswer local;
    local.learn(v, 1, 1000, 1000);
    assert_true(local.answer(who, 1299).has_value());
    assert_false(local.answer(who, 1300).has_value());
    // The day's, too, when it is the day that denies.
    v.outcome = LimitVerdict::Outcome::DeniedDay;
    v.reset_day_ms = 100;
    local.learn(v, 1, 2000, 2000);
    assert_true(local.answer(who, 2099).has_value());
    assert_false(local.answer(who, 2100).has_value());
}

static void lease_sizes(void **)
{
    static const struct {
        uint64_t rpm, instances, workers, daemon, worker;
    } table[] = {
        {599, 1, 1, 1, 1},       {600, 1, 1, 30, 30}, {640, 1, 1, 32, 32},
        {6000, 1, 4, 32, 8},     {600, 3, 1, 10, 10}, {600, 3, 2, 10, 5},
        {600, 30, 1, 1, 1},      {600, 100, 1, 1, 1}, {600, 3, 64, 10, 1},
        {100'000, 2, 2, 32, 16},
    };
    for (const auto &row : table) {
        const LeaseRule rule = {true, row.instances, row.workers};
        assert_int_equal(daemon_lease(row.rpm, rule), row.daemon);
        assert_int_equal(worker_lease(row.rpm, rule), row.worker);
        assert_int_equal(worker_lease(row.rpm, {false, 1, 1}), 1);
    }
}

static void a_lease_is_used_and_given_back(void **)
{
    const LeaseRule rule = {true, 1, 1};
    const Account who = account(600);
    Store store;
    LocalAnswer local;
    // The first call cannot know whether there is room.
    assert_int_equal(local.ask(who, rule), 1);
    local.learn(store.take(who, 1, 0), 1, 0, 0);
    assert_int_equal(local.ask(who, rule), 30);
    // One at a time.
    assert_int_equal(local.ask(who, rule), 1);
    const LimitVerdict first = local.learn(store.take(who, 30, 5), 30, 5, 6);
    assert_int_equal(first.remaining_minute, 598);
    for (uint64_t left = 597; left > 587; left--) {
        const std::optional<LimitVerdict> v = local.answer(who, 100);
        assert_true(v && admitted(*v));
        assert_int_equal(v->remaining_minute, left);
        assert_int_equal(v->reset_minute_ms, kMinute - 5 - 94);
        assert_int_equal(v->stamp.minute_start_ms, 0);
    }
    LimitStamp stamp;
    assert_int_equal(local.take_back(1004, false, stamp), 0);
    // A second after it was asked for, not after the answer.
    assert_false(local.answer(who, 1005).has_value());
    assert_int_equal(local.take_back(1005, false, stamp), 19);
    assert_int_equal(local.take_back(1005, true, stamp), 0);
    store.give_back(19, stamp);
    assert_int_equal(store.used, 12);
}

static void a_lease_ends_before_its_window(void **)
{
    const LeaseRule rule = {true, 1, 1};
    const Account who = account(600);
    Store store;
    LocalAnswer local;
    local.learn(store.take(who, 1, 0), 1, 0, 0);
    local.learn(store.take(who, local.ask(who, rule), 59'500), 30, 59'500,
                59'510);
    assert_true(local.answer(who, 59'979).has_value());
    assert_false(local.answer(who, 59'980).has_value());
    LimitStamp stamp;
    assert_int_equal(local.take_back(59'980, false, stamp), 28);
}

static void no_lease_near_the_end(void **)
{
    const LeaseRule rule = {true, 1, 1};
    const Account who = account(600);
    Store store;
    LocalAnswer local;
    local.learn(store.take(who, 541, 0), 1, 0, 0); // 59 < 2 * 30
    assert_int_equal(local.ask(who, rule), 1);
    // Nor where the day's limit is near.
    const Account day = account(600, 100);
    LimitVerdict v = store.take(day, 1, 0);
    v.rpd = 100;
    v.remaining_day = 59;
    local.learn(v, 1, 0, 0);
    assert_int_equal(local.ask(day, rule), 1);
}

// Daemons with workers hammer one token by chance for some minutes.
static void the_bound_holds(void **)
{
    std::minstd_rand random(7);
    for (unsigned round = 0; round < 60; round++) {
        const LeaseRule rule = {true, 1 + random() % 4, 1 + random() % 3};
        const Account who = account(600 + random() % 1400);
        const uint64_t bound = daemon_lease(who.rpm, rule) * rule.instances;
        Store store;
        std::vector<LocalAnswer> workers(rule.instances * rule.workers);
        int64_t window = -1;
        uint64_t in_window = 0;
        for (int64_t now = 0; now < 3 * kMinute; now += random() % 20) {
            LocalAnswer &local = workers[random() % workers.size()];
            LimitStamp stamp;
            for (LocalAnswer &other : workers) {
                const uint64_t units = other.take_back(now, false, stamp);
                store.give_back(units, stamp);
            }
            std::optional<LimitVerdict> v = local.answer(who, now);
            bool early = false;
            if (!v) {
                uint64_t units = local.ask(who, rule);
                LimitVerdict said = store.take(who, units, now);
                if (!admitted(said) && units > 1) {
                    local.lost();
                    units = 1;
                    said = store.take(who, units, now);
                }
                early = !admitted(said);
                v = local.learn(said, units, now, now);
            }
            if (admitted(*v)) {
                if (v->stamp.minute_start_ms != window) {
                    window = v->stamp.minute_start_ms;
                    in_window = 0;
                }
                in_window++;
                assert_true(in_window <= who.rpm);
            } else if (early) {
                assert_true(in_window + bound >= who.rpm);
            }
        }
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_denial_holds_for_a_second),
        cmocka_unit_test(a_denial_ends_with_its_window),
        cmocka_unit_test(lease_sizes),
        cmocka_unit_test(a_lease_is_used_and_given_back),
        cmocka_unit_test(a_lease_ends_before_its_window),
        cmocka_unit_test(no_lease_near_the_end),
        cmocka_unit_test(the_bound_holds),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
