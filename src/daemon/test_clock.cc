// The clock of llm-proxyd-test, never installed: the file that
// LLM_PROXY_CLOCK_FILE names holds milliseconds to add to both clocks, so that
// tests let windows and days pass without waiting.
#include <cstdio>
#include <cstdlib>

#include "process_clock.h"

namespace llmproxy
{

namespace
{

class OffsetClock final : public Clock
{
public:
    explicit OffsetClock(const char *path) : path_(path) {}

    int64_t mono_ms() const override { return real_.mono_ms() + offset(); }
    int64_t wall_ms() const override { return real_.wall_ms() + offset(); }

private:
    int64_t offset() const
    {
        long long ms = 0;
        FILE *file = path_ == nullptr ? nullptr : fopen(path_, "re");
        if (file != nullptr) {
            char text[32] = "";
            if (fgets(text, sizeof(text), file) != nullptr) {
                ms = strtoll(text, nullptr, 10);
            }
            (void)fclose(file);
        }
        return ms;
    }

    SystemClock real_;
    const char *path_;
};

} // namespace

const Clock &process_clock()
{
    // Read once, at the start.
    // NOLINTNEXTLINE(concurrency-mt-unsafe)
    static const OffsetClock clock(getenv("LLM_PROXY_CLOCK_FILE"));
    return clock;
}

bool measures_turns()
{
    // NOLINTNEXTLINE(concurrency-mt-unsafe)
    static const bool wanted = getenv("LLM_PROXY_MEASURE_TURNS") != nullptr;
    return wanted;
}

} // namespace llmproxy
