#ifndef LLM_PROXY_BASE_CLOCK_H
#define LLM_PROXY_BASE_CLOCK_H

#include <cstdint>
#include <string_view>

namespace llmproxy
{

// Where time comes from. Everything that decides by time takes a Clock, so
// that tests hand in their own. Safe to call from any thread.
class Clock
{
public:
    // Milliseconds of a clock that never goes back (CLOCK_MONOTONIC).
    virtual int64_t mono_ms() const = 0;
    // Milliseconds since 1970-01-01 UTC; may jump either way.
    virtual int64_t wall_ms() const = 0;

protected:
    ~Clock() = default;
};

// The kernel's clocks.
class SystemClock final : public Clock
{
public:
    int64_t mono_ms() const override;
    int64_t wall_ms() const override;
};

// `wall_ms` (since 1970-01-01 UTC) as 2026-11-24T12:00:00.123Z. Good until the
// thread's next call.
std::string_view iso_time(int64_t wall_ms);

} // namespace llmproxy

#endif
