// The installed daemon's clock.
#include "process_clock.h"

namespace llmproxy
{

const Clock &process_clock()
{
    static const SystemClock clock;
    return clock;
}

bool measures_turns()
{
    return false;
}

} // namespace llmproxy
