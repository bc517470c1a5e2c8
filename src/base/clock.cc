// The kernel's clocks as a Clock.
#include "llm_proxy/base/clock.h"

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

} // namespace llmproxy
