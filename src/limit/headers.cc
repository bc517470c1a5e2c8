// What a client is told of its limits: OpenAI's header names and duration
// format, and 429s worded so that the SDKs wait for a minute's window and
// give up on a day's.

#include "llm_proxy/limit/headers.h"

#include "llm_proxy/base/strings.h"

#include <algorithm>

namespace llmproxy
{

namespace
{

constexpr int64_t kSecondMs = 1000;

uint64_t ceil_seconds(int64_t ms)
{
    return ms <= 0 ? 0
                   : (static_cast<uint64_t>(ms) + kSecondMs - 1) / kSecondMs;
}

// Whether the day's window is the one closest to blocking: the window that
// denied, else the smaller share left; a tie is the minute's.
bool day_is_closer(const LimitVerdict &verdict)
{
    if (verdict.outcome == LimitVerdict::Outcome::DeniedDay) {
        return true;
    }
    if (verdict.outcome == LimitVerdict::Outcome::DeniedMinute ||
        verdict.rpd == 0) {
        return false;
    }
    if (verdict.rpm == 0) {
        return true;
    }
    const auto minute = static_cast<double>(verdict.remaining_minute) /
                        static_cast<double>(verdict.rpm);
    const auto day = static_cast<double>(verdict.remaining_day) /
                     static_cast<double>(verdict.rpd);
    return day < minute;
}

struct Window {
    uint64_t limit = 0;
    uint64_t remaining = 0;
    int64_t reset_ms = 0;
};

Window minute_window(const LimitVerdict &v)
{
    return {v.rpm, v.remaining_minute, v.reset_minute_ms};
}

Window day_window(const LimitVerdict &v)
{
    return {v.rpd, v.remaining_day, v.reset_day_ms};
}

// One item of each of the draft's lists: "rpm";q=60;w=60 and "rpm";r=59;t=1.
void append_draft_items(const char *name, const Window &window,
                        uint64_t length_s, std::string &policy,
                        std::string &state)
{
    if (window.limit == 0) {
        return;
    }
    for (std::string *list : {&policy, &state}) {
        *list += list->empty() ? "\"" : ", \"";
        *list += name;
        *list += '"';
    }
    policy += ";q=";
    append_u64(policy, window.limit);
    policy += ";w=";
    append_u64(policy, length_s);
    state += ";r=";
    append_u64(state, window.remaining);
    state += ";t=";
    append_u64(state, ceil_seconds(window.reset_ms));
}

} // namespace

std::string format_reset(int64_t ms)
{
    std::string out;
    if (ms <= 0) {
        return "0s";
    }
    if (ms < kSecondMs) {
        append_u64(out, static_cast<uint64_t>(ms));
        return out + "ms";
    }
    if (ms < 60 * kSecondMs) {
        append_u64(out, static_cast<uint64_t>(ms / kSecondMs));
        const int64_t rest = ms % kSecondMs;
        if (rest > 0) {
            std::string digits;
            append_u64(digits, static_cast<uint64_t>(rest + kSecondMs));
            digits[0] = '.';
            digits.erase(digits.find_last_not_of('0') + 1);
            out += digits;
        }
        return out + "s";
    }
    const uint64_t seconds = ceil_seconds(ms);
    if (seconds >= 3600) {
        append_u64(out, seconds / 3600);
        out += 'h';
    }
    append_u64(out, seconds / 60 % 60);
    out += 'm';
    append_u64(out, seconds % 60);
    return out + "s";
}

void append_limit_headers(const LimitVerdict &verdict, bool draft,
                          FieldBlock &out)
{
    const Window day = day_window(verdict);
    const Window closest =
        day_is_closer(verdict) ? day : minute_window(verdict);
    if (closest.limit == 0) {
        return;
    }
    out.add("X-RateLimit-Limit-Requests", closest.limit);
    out.add("X-RateLimit-Remaining-Requests", closest.remaining);
    out.add("X-RateLimit-Reset-Requests", format_reset(closest.reset_ms));
    if (day.limit > 0) {
        out.add("X-RateLimit-Limit-Requests-Day", day.limit);
        out.add("X-RateLimit-Remaining-Requests-Day", day.remaining);
        out.add("X-RateLimit-Reset-Requests-Day", format_reset(day.reset_ms));
    }
    if (draft) {
        std::string policy;
        std::string state;
        append_draft_items("rpm", minute_window(verdict), 60, policy, state);
        append_draft_items("rpd", day, 86400, policy, state);
        out.add("RateLimit-Policy", policy);
        out.add("RateLimit", state);
    }
}

ApiError limit_error(const LimitVerdict &verdict, std::string_view label,
                     FieldBlock &extra)
{
    ApiError error;
    if (verdict.outcome == LimitVerdict::Outcome::Unavailable) {
        error.kind = ApiErrorKind::LimiterUnavailable;
        return error;
    }
    const bool day = verdict.outcome == LimitVerdict::Outcome::DeniedDay;
    const Window window = day ? day_window(verdict) : minute_window(verdict);
    const int64_t wait_ms = std::max<int64_t>(window.reset_ms, 1);
    error.kind =
        day ? ApiErrorKind::RateLimitDay : ApiErrorKind::RateLimitMinute;
    error.retry_after_s = static_cast<int>(ceil_seconds(wait_ms));
    error.no_retry = day;
    extra.add("retry-after-ms", static_cast<uint64_t>(wait_ms));

    // LangChain waits when it reads "try again in" and gives up when it
    // reads "will reset at".
    error.message = day ? "Daily limit of " : "Rate limit reached: ";
    append_u64(error.message, window.limit);
    error.message +=
        day ? " requests for token '" : " requests per minute for token '";
    error.message += label;
    if (day) {
        error.message += "' is used up; it will reset at 00:00 UTC.";
    } else {
        error.message += "'. Please try again in ";
        error.message += format_reset(wait_ms);
        error.message += '.';
    }
    return error;
}

} // namespace llmproxy
