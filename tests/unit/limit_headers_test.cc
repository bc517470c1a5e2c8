// limit/headers: durations, header lines and the two 429s.

#include "llm_proxy/limit/headers.h"

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

using Outcome = LimitVerdict::Outcome;

LimitVerdict verdict_of(Outcome outcome, uint64_t rpm, uint64_t left_minute,
                        uint64_t rpd, uint64_t left_day)
{
    LimitVerdict verdict;
    verdict.outcome = outcome;
    verdict.rpm = rpm;
    verdict.remaining_minute = left_minute;
    verdict.reset_minute_ms = 6210;
    verdict.rpd = rpd;
    verdict.remaining_day = left_day;
    verdict.reset_day_ms = 40210 * 1000;
    return verdict;
}

std::string headers_of(const LimitVerdict &verdict)
{
    FieldBlock out;
    append_limit_headers(verdict, false, out);
    return out.text();
}

constexpr char kDayTwins[] = "X-RateLimit-Limit-Requests-Day: 1000\r\n"
                             "X-RateLimit-Remaining-Requests-Day: 812\r\n"
                             "X-RateLimit-Reset-Requests-Day: 11h10m10s\r\n";

} // namespace

static void durations_are_gos(void **)
{
    static const struct {
        int64_t ms;
        const char *text;
    } table[] = {
        {-5, "0s"},
        {0, "0s"},
        {1, "1ms"},
        {999, "999ms"},
        {1000, "1s"},
        {1001, "1.001s"},
        {1010, "1.01s"},
        {1500, "1.5s"},
        {6210, "6.21s"},
        {59800, "59.8s"},
        {59999, "59.999s"},
        {60000, "1m0s"},
        {60001, "1m1s"},
        {360000, "6m0s"},
        {3599000, "59m59s"},
        {3599001, "1h0m0s"},
        {3600000, "1h0m0s"},
        {40210000, "11h10m10s"},
        {86352000, "23h59m12s"},
        {86400000, "24h0m0s"},
        {172799999, "48h0m0s"},
    };
    for (const auto &row : table) {
        assert_string_equal(format_reset(row.ms).c_str(), row.text);
    }
}

static void one_window_gives_three_headers(void **)
{
    assert_string_equal(
        headers_of(verdict_of(Outcome::Admitted, 60, 59, 0, 0)).c_str(),
        "X-RateLimit-Limit-Requests: 60\r\n"
        "X-RateLimit-Remaining-Requests: 59\r\n"
        "X-RateLimit-Reset-Requests: 6.21s\r\n");
    assert_string_equal(
        headers_of(verdict_of(Outcome::Admitted, 0, 0, 1000, 812)).c_str(),
        ("X-RateLimit-Limit-Requests: 1000\r\n"
         "X-RateLimit-Remaining-Requests: 812\r\n"
         "X-RateLimit-Reset-Requests: 11h10m10s\r\n" +
         std::string(kDayTwins))
            .c_str());
    assert_string_equal(
        headers_of(verdict_of(Outcome::Admitted, 0, 0, 0, 0)).c_str(), "");
}

static void the_window_closest_to_blocking_is_reported(void **)
{
    static const struct {
        Outcome outcome;
        uint64_t left_minute;
        uint64_t left_day;
        const char *limit;
    } table[] = {
        {Outcome::Admitted, 59, 812, "1000"},
        {Outcome::Admitted, 10, 812, "60"},
        {Outcome::Admitted, 30, 500, "60"}, // a tie
        {Outcome::Admitted, 30, 499, "1000"},
        {Outcome::DeniedMinute, 0, 0, "60"},
        {Outcome::DeniedDay, 0, 0, "1000"},
        {Outcome::DeniedDay, 60, 0, "1000"},
    };
    for (const auto &row : table) {
        const std::string text = headers_of(
            verdict_of(row.outcome, 60, row.left_minute, 1000, row.left_day));
        const std::string wanted =
            "X-RateLimit-Limit-Requests: " + std::string(row.limit) + "\r\n";
        assert_int_equal(text.find(wanted), 0);
        assert_true(text.find("X-RateLimit-Limit-Requests-Day: 1000\r\n") !=
                    std::string::npos);
    }
}

static void a_minutes_denial_says_when_to_try_again(void **)
{
    FieldBlock extra;
    const ApiError error = limit_error(
        verdict_of(Outcome::DeniedMinute, 60, 0, 1000, 812), "alice", extra);
    assert_int_equal(error.kind, ApiErrorKind::RateLimitMinute);
    assert_int_equal(error.retry_after_s, 7);
    assert_false(error.no_retry);
    assert_string_equal(extra.text().c_str(), "retry-after-ms: 6210\r\n");
    assert_string_equal(error.message.c_str(),
                        "Rate limit reached: 60 requests per minute for token "
                        "'alice'. Please try again in 6.21s.");
}

static void a_days_denial_stops_retries(void **)
{
    FieldBlock extra;
    const ApiError error = limit_error(
        verdict_of(Outcome::DeniedDay, 60, 5, 1000, 0), "alice", extra);
    assert_int_equal(error.kind, ApiErrorKind::RateLimitDay);
    assert_int_equal(error.retry_after_s, 40210);
    assert_true(error.no_retry);
    assert_string_equal(extra.text().c_str(), "retry-after-ms: 40210000\r\n");
    assert_string_equal(error.message.c_str(),
                        "Daily limit of 1000 requests for token 'alice' is "
                        "used up; it will reset at 00:00 UTC.");
}

static void retry_after_is_rounded_up_and_never_zero(void **)
{
    static const struct {
        int64_t ms;
        int seconds;
        const char *exact;
    } table[] = {
        {0, 1, "retry-after-ms: 1\r\n"},
        {1, 1, "retry-after-ms: 1\r\n"},
        {1000, 1, "retry-after-ms: 1000\r\n"},
        {1001, 2, "retry-after-ms: 1001\r\n"},
        {60000, 60, "retry-after-ms: 60000\r\n"},
    };
    for (const auto &row : table) {
        LimitVerdict verdict = verdict_of(Outcome::DeniedMinute, 60, 0, 0, 0);
        verdict.reset_minute_ms = row.ms;
        FieldBlock extra;
        const ApiError error = limit_error(verdict, "bob", extra);
        assert_int_equal(error.retry_after_s, row.seconds);
        assert_string_equal(extra.text().c_str(), row.exact);
    }
}

static void a_store_that_failed_is_its_own_error(void **)
{
    FieldBlock extra;
    const ApiError error =
        limit_error(verdict_of(Outcome::Unavailable, 60, 0, 0, 0), "a", extra);
    assert_int_equal(error.kind, ApiErrorKind::LimiterUnavailable);
    assert_string_equal(extra.text().c_str(), "");
}

static void the_drafts_fields_come_on_demand(void **)
{
    FieldBlock out;
    append_limit_headers(verdict_of(Outcome::Admitted, 60, 59, 1000, 812), true,
                         out);
    assert_true(out.text().find("\r\nRateLimit-Policy: \"rpm\";q=60;w=60, "
                                "\"rpd\";q=1000;w=86400\r\n"
                                "RateLimit: \"rpm\";r=59;t=7, "
                                "\"rpd\";r=812;t=40210\r\n") !=
                std::string::npos);
    FieldBlock day;
    append_limit_headers(verdict_of(Outcome::Admitted, 0, 0, 1000, 812), true,
                         day);
    assert_true(day.text().find("RateLimit-Policy: \"rpd\";q=1000;w=86400\r\n"
                                "RateLimit: \"rpd\";r=812;t=40210\r\n") !=
                std::string::npos);
    FieldBlock none;
    append_limit_headers(verdict_of(Outcome::Admitted, 0, 0, 0, 0), true, none);
    assert_true(none.text().empty());
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_gos),
        cmocka_unit_test(one_window_gives_three_headers),
        cmocka_unit_test(the_window_closest_to_blocking_is_reported),
        cmocka_unit_test(a_minutes_denial_says_when_to_try_again),
        cmocka_unit_test(a_days_denial_stops_retries),
        cmocka_unit_test(retry_after_is_rounded_up_and_never_zero),
        cmocka_unit_test(a_store_that_failed_is_its_own_error),
        cmocka_unit_test(the_drafts_fields_come_on_demand),
    };
    return cmocka_run_group_tests_name("limit_headers", tests, nullptr,
                                       nullptr);
}
