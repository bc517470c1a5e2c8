// limit/memory_limiter and ticket: exact windows on a clock of our own.

#include "llm_proxy/limit/memory_limiter.h"
#include "llm_proxy/limit/slot.h"
#include "llm_proxy/limit/ticket.h"

#include <atomic>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

using Outcome = LimitVerdict::Outcome;

constexpr int64_t kDay = 86400 * 1000LL;
constexpr int64_t kHour = 3600 * 1000LL;

class FakeClock final : public Clock
{
public:
    int64_t mono_ms() const override { return mono; }
    int64_t wall_ms() const override { return wall; }
    void advance(int64_t ms)
    {
        mono += ms;
        wall += ms;
    }

    int64_t mono = 0;
    int64_t wall = 20000 * kDay + 12 * kHour;
};

Principal principal_of(unsigned char id, uint64_t rpm, uint64_t rpd)
{
    Principal principal;
    principal.digest[0] = id;
    principal.label = "p" + std::to_string(id);
    principal.rpm = rpm;
    principal.rpd = rpd;
    return principal;
}

// A memory limiter answers at once.
struct Never final : LimitSink {
    void on_limit_verdict(uint64_t, const LimitVerdict &) override { fail(); }
};

// A table with one token.
struct Fixture {
    explicit Fixture(uint64_t rpm, uint64_t rpd) : table(clock)
    {
        set_limits(rpm, rpd);
    }
    // As a reload does.
    void set_limits(uint64_t rpm, uint64_t rpd)
    {
        TokenTable tokens;
        std::string why;
        assert_true(tokens.add(principal_of(1, rpm, rpd), why));
        table.assign_slots(tokens);
        principal = tokens.principals()[0];
    }
    LimitVerdict admit() { return table.admit(principal); }
    LimitVerdict peek() { return table.peek(principal); }
    // How many of `tries` are admitted.
    int admit_many(int tries)
    {
        int admitted = 0;
        for (int i = 0; i < tries; i++) {
            admitted += admit().outcome == Outcome::Admitted ? 1 : 0;
        }
        return admitted;
    }

    FakeClock clock;
    MemoryLimitTable table;
    Principal principal;
};

} // namespace

static void n_are_admitted_and_the_next_denied(void **)
{
    Fixture f(3, 0);
    for (uint64_t left = 3; left-- > 0;) {
        const LimitVerdict verdict = f.admit();
        assert_int_equal(verdict.outcome, Outcome::Admitted);
        assert_int_equal(verdict.rpm, 3);
        assert_int_equal(verdict.remaining_minute, left);
        assert_int_equal(verdict.reset_minute_ms, 60000);
    }
    f.clock.advance(1500);
    const LimitVerdict denied = f.admit();
    assert_int_equal(denied.outcome, Outcome::DeniedMinute);
    assert_int_equal(denied.remaining_minute, 0);
    assert_int_equal(denied.reset_minute_ms, 58500);
}

static void the_window_is_anchored_and_ends_to_the_millisecond(void **)
{
    Fixture f(2, 0);
    f.clock.advance(12345);
    assert_int_equal(f.admit_many(1), 1);
    f.clock.advance(30000);
    assert_int_equal(f.admit_many(2), 1);
    f.clock.advance(29999);
    assert_int_equal(f.admit().outcome, Outcome::DeniedMinute);
    assert_int_equal(f.peek().reset_minute_ms, 1);
    f.clock.advance(1);
    const LimitVerdict verdict = f.admit();
    assert_int_equal(verdict.outcome, Outcome::Admitted);
    assert_int_equal(verdict.remaining_minute, 1);
    assert_int_equal(verdict.reset_minute_ms, 60000);
}

static void denied_requests_are_free(void **)
{
    Fixture f(2, 5);
    assert_int_equal(f.admit_many(50), 2);
    assert_int_equal(f.peek().remaining_day, 3);
    f.clock.advance(60000);
    assert_int_equal(f.admit_many(50), 2);
    f.clock.advance(60000);
    assert_int_equal(f.admit_many(50), 1);
}

static void a_denial_by_the_day_charges_no_minute(void **)
{
    Fixture f(10, 2);
    assert_int_equal(f.admit_many(2), 2);
    f.clock.advance(60000);
    const LimitVerdict denied = f.admit();
    assert_int_equal(denied.outcome, Outcome::DeniedDay);
    assert_int_equal(denied.remaining_minute, 10);
    assert_int_equal(denied.reset_minute_ms, 0);
    assert_int_equal(denied.remaining_day, 0);
    assert_int_equal(denied.reset_day_ms, 12 * kHour - 60000);
}

static void the_day_is_named_when_both_windows_are_used_up(void **)
{
    Fixture f(2, 2);
    assert_int_equal(f.admit_many(2), 2);
    assert_int_equal(f.admit().outcome, Outcome::DeniedDay);
}

static void the_day_rolls_over_at_midnight_utc(void **)
{
    Fixture f(0, 2);
    f.clock.advance(12 * kHour - 1);
    assert_int_equal(f.admit_many(5), 2);
    assert_int_equal(f.peek().reset_day_ms, 1);
    f.clock.advance(1);
    assert_int_equal(f.peek().reset_day_ms, kDay);
    assert_int_equal(f.admit_many(5), 2);
}

static void a_wall_clock_that_steps_back_gives_no_new_day(void **)
{
    Fixture f(0, 2);
    f.clock.wall = 20001 * kDay + 30 * 60 * 1000;
    assert_int_equal(f.admit_many(5), 2);
    f.clock.wall -= kHour; // before midnight again
    assert_int_equal(f.admit_many(5), 0);
    assert_int_equal(f.peek().reset_day_ms, kDay + 30 * 60 * 1000);
    f.clock.wall += kHour;
    assert_int_equal(f.admit_many(5), 0);
    f.clock.wall += kDay;
    assert_int_equal(f.admit_many(5), 2);
}

static void a_wall_clock_that_steps_forward_over_midnight_is_a_new_day(void **)
{
    Fixture f(0, 2);
    f.clock.wall = 20001 * kDay - 30 * 60 * 1000;
    assert_int_equal(f.admit_many(5), 2);
    f.clock.wall += kHour;
    assert_int_equal(f.admit_many(5), 2);
}

static void a_day_far_ahead_came_from_a_wrong_clock(void **)
{
    Fixture f(0, 2);
    f.clock.wall += 300 * kDay;
    assert_int_equal(f.admit_many(5), 2);
    f.clock.wall -= 300 * kDay;
    assert_int_equal(f.admit_many(5), 2);
    assert_int_equal(f.peek().reset_day_ms, 12 * kHour);
}

static void the_minute_ignores_the_wall_clock(void **)
{
    Fixture f(2, 0);
    assert_int_equal(f.admit_many(5), 2);
    f.clock.wall += kHour;
    assert_int_equal(f.admit_many(5), 0);
    f.clock.wall -= 2 * kHour;
    assert_int_equal(f.admit_many(5), 0);
    // An older reading of the steady clock counts as the window's start.
    f.clock.mono -= 5;
    const LimitVerdict denied = f.admit();
    assert_int_equal(denied.outcome, Outcome::DeniedMinute);
    assert_int_equal(denied.reset_minute_ms, 60000);
}

static void unlimited_tokens_are_never_denied(void **)
{
    Fixture f(0, 0);
    assert_int_equal(f.admit_many(1000), 1000);
    const LimitVerdict verdict = f.admit();
    assert_int_equal(verdict.rpm, 0);
    assert_int_equal(verdict.rpd, 0);
}

static void peek_takes_nothing(void **)
{
    Fixture f(1, 1);
    for (int i = 0; i < 5; i++) {
        const LimitVerdict verdict = f.peek();
        assert_int_equal(verdict.outcome, Outcome::Admitted);
        assert_int_equal(verdict.remaining_minute, 1);
        assert_int_equal(verdict.reset_minute_ms, 0);
    }
    assert_int_equal(f.admit_many(2), 1);
    assert_int_equal(f.peek().outcome, Outcome::DeniedDay);
}

static void a_refund_counts_in_its_own_windows_only(void **)
{
    Fixture f(2, 10);
    const LimitStamp stamp = f.admit().stamp;
    f.table.refund(f.principal, stamp);
    LimitVerdict verdict = f.peek();
    assert_int_equal(verdict.remaining_minute, 2);
    assert_int_equal(verdict.remaining_day, 10);
    // Nothing is left to give back.
    f.table.refund(f.principal, stamp);
    assert_int_equal(f.peek().remaining_minute, 2);
    assert_int_equal(f.peek().remaining_day, 10);

    const LimitStamp old = f.admit().stamp;
    f.clock.advance(60000);
    assert_int_equal(f.admit_many(1), 1);
    f.table.refund(f.principal, old);
    verdict = f.peek();
    assert_int_equal(verdict.remaining_minute, 1); // another minute
    assert_int_equal(verdict.remaining_day, 9);    // the same day

    const LimitStamp yesterday = f.admit().stamp;
    f.clock.advance(kDay);
    assert_int_equal(f.admit_many(1), 1);
    f.table.refund(f.principal, yesterday);
    assert_int_equal(f.peek().remaining_day, 9);
}

static void a_reload_keeps_counters_and_lowers_limits_at_once(void **)
{
    Fixture f(10, 100);
    const uint32_t slot = f.principal.slot;
    assert_int_equal(f.admit_many(6), 6);
    f.set_limits(4, 5);
    assert_int_equal(f.principal.slot, slot);
    LimitVerdict verdict = f.admit();
    assert_int_equal(verdict.outcome, Outcome::DeniedDay);
    assert_int_equal(verdict.remaining_minute, 0);
    assert_int_equal(verdict.remaining_day, 0);
    f.set_limits(8, 100);
    verdict = f.admit();
    assert_int_equal(verdict.outcome, Outcome::Admitted);
    assert_int_equal(verdict.remaining_minute, 1);
    assert_int_equal(verdict.remaining_day, 93);
    f.set_limits(0, 0);
    assert_int_equal(f.admit().outcome, Outcome::Admitted);
}

static void tokens_do_not_share_a_record(void **)
{
    const FakeClock clock;
    MemoryLimitTable table(clock);
    TokenTable tokens;
    std::string why;
    // Past the first blocks of records, in two reloads.
    for (uint32_t round : {700U, 5000U}) {
        for (uint32_t i = static_cast<uint32_t>(tokens.size()); i < round;
             i++) {
            Principal principal = principal_of(0, 1, 0);
            principal.digest[0] = static_cast<uint8_t>(i);
            principal.digest[9] = static_cast<uint8_t>(i >> 8);
            principal.label = std::to_string(i);
            assert_true(tokens.add(principal, why));
        }
        table.assign_slots(tokens);
    }
    for (const Principal &principal : tokens.principals()) {
        assert_int_equal(table.admit(principal).outcome, Outcome::Admitted);
    }
    for (const Principal &principal : tokens.principals()) {
        assert_int_equal(table.admit(principal).outcome, Outcome::DeniedMinute);
    }
}

static void many_threads_get_exactly_the_limit(void **)
{
    constexpr uint64_t kLimit = 12345;
    Fixture f(kLimit, kLimit + 1);
    std::atomic<uint64_t> admitted{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; t++) {
        threads.emplace_back([&f, &admitted] {
            MemoryLimiter limiter(f.table);
            Never never;
            for (uint64_t i = 0; i < 10000; i++) {
                const std::optional<LimitVerdict> verdict =
                    limiter.admit(f.principal, i, never);
                if (verdict->outcome == Outcome::Admitted) {
                    admitted++;
                }
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    assert_int_equal(admitted.load(), kLimit);
    assert_int_equal(f.peek().remaining_day, 1);
}

static void a_receipt_takes_nothing_and_gives_back_what_it_is_of(void **)
{
    Fixture f(5, 0);
    MemoryLimiter limiter(f.table);
    Never never;
    LimitStamp stamp = limiter.admit(f.principal, 1, never)->stamp;
    const std::optional<LimitVerdict> known =
        limiter.redeem(f.principal, "id", stamp, 2, never);
    assert_int_equal(known->outcome, LimitVerdict::Outcome::Charged);
    assert_int_equal(limiter.peek(f.principal)->remaining_minute, 4);
    limiter.refund(f.principal, known->stamp);
    assert_int_equal(limiter.peek(f.principal)->remaining_minute, 5);

    stamp = limiter.admit(f.principal, 3, never)->stamp;
    stamp.source = LimitStamp::Source::Nobody;
    limiter.refund(
        f.principal,
        limiter.redeem(f.principal, "other", stamp, 4, never)->stamp);
    assert_int_equal(limiter.peek(f.principal)->remaining_minute, 4);
}

static void a_ticket_is_refunded_once_wherever_it_moved(void **)
{
    Fixture f(5, 0);
    MemoryLimiter limiter(f.table);
    Never never;
    const LimitStamp stamp = limiter.admit(f.principal, 1, never)->stamp;
    assert_true(limiter.admit(f.principal, 2, never).has_value());
    LimitTicket first(limiter, f.principal, stamp);
    LimitTicket second(std::move(first));
    LimitTicket third;
    assert_false(third.held());
    third = std::move(second);
    assert_true(third.held());
    third.refund();
    assert_false(third.held());
    third.refund();
    assert_int_equal(limiter.peek(f.principal)->remaining_minute, 4);
    {
        const LimitTicket spent(limiter, f.principal, stamp);
        assert_true(spent.held());
    }
    assert_int_equal(limiter.peek(f.principal)->remaining_minute, 4);
}

static void so_many_at_a_time_and_no_more(void **)
{
    Fixture f(0, 0);
    f.principal.concurrency = 2;
    ConcurrencySlot first(f.table, f.principal);
    {
        const ConcurrencySlot second(f.table, f.principal);
        assert_true(first.held());
        assert_true(second.held());
        assert_false(ConcurrencySlot(f.table, f.principal).held());
    }
    ConcurrencySlot third(f.table, f.principal);
    assert_true(third.held());
    first = std::move(third);
    assert_true(ConcurrencySlot(f.table, f.principal).held());
    // Lowered by a reload: what runs goes on, and counts.
    const ConcurrencySlot fourth(f.table, f.principal);
    f.principal.concurrency = 1;
    first.give_back();
    first.give_back();
    assert_false(ConcurrencySlot(f.table, f.principal).held());
}

static void at_a_time_is_exact_over_threads(void **)
{
    Fixture f(0, 0);
    f.principal.concurrency = 3;
    std::atomic<int> running{0};
    std::atomic<int> most{0};
    std::atomic<int> entered{0};
    const auto work = [&] {
        for (int i = 0; i < 20000; i++) {
            const ConcurrencySlot slot(f.table, f.principal);
            if (!slot.held()) {
                continue;
            }
            const int now = ++running;
            int seen = most;
            while (now > seen && !most.compare_exchange_weak(seen, now)) {
            }
            entered++;
            running--;
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++) {
        threads.emplace_back(work);
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    assert_in_range(most, 1, 3);
    assert_true(entered > 0);
    // Nothing is left behind.
    const ConcurrencySlot one(f.table, f.principal);
    const ConcurrencySlot two(f.table, f.principal);
    const ConcurrencySlot three(f.table, f.principal);
    assert_true(three.held());
}

static void an_operator_sees_the_use_and_takes_it_back(void **)
{
    Fixture f(2, 3);
    const TokenUse none = f.table.use_of(f.principal);
    assert_int_equal(none.minute, 0);
    assert_int_equal(none.day, 0);
    assert_int_equal(none.reset_minute_ms, 0);
    assert_int_equal(none.reset_day_ms, 12 * kHour);
    (void)f.admit();
    f.clock.advance(20'000);
    (void)f.admit();
    assert_true(f.table.enter(f.principal));
    const LimitVerdict denied = f.admit();
    assert_true(denied.outcome == Outcome::DeniedMinute);
    const TokenUse use = f.table.use_of(f.principal);
    assert_int_equal(use.minute, 2);
    assert_int_equal(use.day, 2);
    assert_int_equal(use.running, 1);
    assert_int_equal(use.reset_minute_ms, 40'000);
    f.table.reset(f.principal);
    const TokenUse after = f.table.use_of(f.principal);
    assert_int_equal(after.minute, 0);
    assert_int_equal(after.day, 0);
    assert_int_equal(after.running, 1); // it still runs
    // A unit of the window that is no more is not given back to the new one.
    f.clock.advance(1);
    (void)f.admit();
    f.table.refund(f.principal, denied.stamp);
    assert_int_equal(f.table.use_of(f.principal).minute, 1);
    // What is over is not shown.
    f.clock.advance(kDay);
    assert_int_equal(f.table.use_of(f.principal).minute, 0);
    assert_int_equal(f.table.use_of(f.principal).day, 0);
    f.table.leave(f.principal.slot);
}

// Another process that goes on with the same records, uses two units and one
// place, and dies with what `end` does. True if all was as it should be.
static bool other_process(Fixture &f, void (*end)())
{
    const pid_t child = fork();
    if (child == 0) {
        MemoryLimitTable table(f.clock);
        Error err;
        TokenTable tokens;
        std::string why;
        Principal principal = f.principal;
        bool ok = table.adopt(Fd(dup(f.table.memory())), err) &&
                  tokens.add(principal, why);
        table.assign_slots(tokens);
        principal.slot = tokens.principals()[0].slot;
        ok = ok && table.reclaim() &&
             table.admit(principal).remaining_minute == 2 &&
             table.admit(principal).remaining_minute == 1 &&
             table.enter(principal) && !table.enter(principal);
        if (ok) {
            end();
        }
        _exit(1);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child &&
           (WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
}

static void processes_count_in_one_place(void **)
{
    Fixture f(5, 0);
    f.principal.concurrency = 2;
    assert_int_equal(f.admit_many(2), 2);
    assert_true(f.table.enter(f.principal));
    assert_true(other_process(f, [] { raise(SIGKILL); }));
    assert_int_equal(f.admit_many(5), 1);
    // What it had running ends with it.
    assert_false(f.table.enter(f.principal));
    assert_false(f.table.reclaim());
    assert_true(f.table.enter(f.principal));
    assert_false(f.table.enter(f.principal));
    f.table.leave(f.principal.slot);
    f.table.leave(f.principal.slot);
    f.clock.advance(60000);
    assert_int_equal(f.admit_many(2), 2);
    assert_true(f.table.enter(f.principal));
    assert_true(other_process(f, [] { _exit(0); }));
}

static void records_of_another_layout_are_left_alone(void **)
{
    Fixture f(5, 0);
    Error err;
    const Fd file(memfd_create("other", MFD_CLOEXEC));
    assert_false(f.table.adopt(Fd(dup(file.get())), err));
    assert_int_equal(ftruncate(file.get(), 8192), 0);
    assert_false(f.table.adopt(Fd(dup(file.get())), err));
    assert_non_null(strstr(err.message.c_str(), "another layout"));
    assert_int_equal(f.admit_many(6), 5);
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(n_are_admitted_and_the_next_denied),
        cmocka_unit_test(the_window_is_anchored_and_ends_to_the_millisecond),
        cmocka_unit_test(denied_requests_are_free),
        cmocka_unit_test(a_denial_by_the_day_charges_no_minute),
        cmocka_unit_test(the_day_is_named_when_both_windows_are_used_up),
        cmocka_unit_test(the_day_rolls_over_at_midnight_utc),
        cmocka_unit_test(a_wall_clock_that_steps_back_gives_no_new_day),
        cmocka_unit_test(
            a_wall_clock_that_steps_forward_over_midnight_is_a_new_day),
        cmocka_unit_test(a_day_far_ahead_came_from_a_wrong_clock),
        cmocka_unit_test(the_minute_ignores_the_wall_clock),
        cmocka_unit_test(unlimited_tokens_are_never_denied),
        cmocka_unit_test(peek_takes_nothing),
        cmocka_unit_test(a_refund_counts_in_its_own_windows_only),
        cmocka_unit_test(a_reload_keeps_counters_and_lowers_limits_at_once),
        cmocka_unit_test(tokens_do_not_share_a_record),
        cmocka_unit_test(processes_count_in_one_place),
        cmocka_unit_test(records_of_another_layout_are_left_alone),
        cmocka_unit_test(many_threads_get_exactly_the_limit),
        cmocka_unit_test(a_receipt_takes_nothing_and_gives_back_what_it_is_of),
        cmocka_unit_test(a_ticket_is_refunded_once_wherever_it_moved),
        cmocka_unit_test(so_many_at_a_time_and_no_more),
        cmocka_unit_test(at_a_time_is_exact_over_threads),
        cmocka_unit_test(an_operator_sees_the_use_and_takes_it_back),
    };
    return cmocka_run_group_tests_name("memory_limiter", tests, nullptr,
                                       nullptr);
}
