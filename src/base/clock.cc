// The kernel's clocks as a Clock.
#include "llm_proxy/base/clock.h"

#include <cstdio>
#include <ctime>

namespace llmproxy
{

namespace
{

int64_t read_ms(clockid_t id)
{
    struct timespec now = {};
    clock_gettime(id, &now); // cannot fail for these clocks
    return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

} // namespace

int64_t SystemClock::mono_ms() const
{
    return read_ms(CLOCK_MONOTONIC);
}

int64_t SystemClock::wall_ms() const
{
    return read_ms(CLOCK_REALTIME);
}

std::string_view iso_time(int64_t wall_ms)
{
    // Rendered once a second; the milliseconds change with every line.
    thread_local time_t rendered = -1;
    thread_local char text[80];
    thread_local size_t size = 0;
    const time_t seconds = static_cast<time_t>(wall_ms / 1000);
    if (seconds != rendered) {
        struct tm utc = {};
        gmtime_r(&seconds, &utc);
        size = static_cast<size_t>(
            snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.",
                     utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec));
        rendered = seconds;
    }
    const int ms = static_cast<int>(wall_ms % 1000);
    char *digits = text + size;
    digits[0] = static_cast<char>('0' + ms / 100);
    digits[1] = static_cast<char>('0' + ms / 10 % 10);
    digits[2] = static_cast<char>('0' + ms % 10);
    digits[3] = 'Z';
    return {text, size + 4};
}

} // namespace llmproxy
