// bench_limiter: what a decision in memory costs in this process, as JSON on
// standard output: CPU nanoseconds of one admit() and of one refund(), the
// least of many rounds.

#include "llm_proxy/limit/memory_limiter.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace llmproxy
{

namespace
{

constexpr int kRounds = 20;
constexpr int kDecisions = 100'000;
constexpr size_t kTokens = 1000;

double cpu_ns()
{
    timespec now = {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 +
           static_cast<double>(now.tv_nsec);
}

void fill(TokenTable &tokens)
{
    for (size_t i = 0; i < kTokens; i++) {
        Principal principal;
        principal.label = "token " + std::to_string(i);
        principal.digest = sha256(principal.label);
        principal.rpm = principal.rpd = UINT64_MAX;
        std::string why;
        (void)!tokens.add(principal, why);
    }
}

int measure()
{
    const SystemClock clock;
    TokenTable tokens;
    fill(tokens);
    MemoryLimitTable table(clock);
    table.assign_slots(tokens);
    double admit_ns = 1e18;
    double refund_ns = 1e18;
    LimitStamp stamp;
    for (int round = 0; round < kRounds; round++) {
        const double begin = cpu_ns();
        for (int i = 0; i < kDecisions; i++) {
            const Principal &principal =
                tokens.principals()[static_cast<size_t>(i) * 7 % kTokens];
            stamp = table.admit(principal).stamp;
        }
        const double middle = cpu_ns();
        for (int i = 0; i < kDecisions; i++) {
            const Principal &principal =
                tokens.principals()[static_cast<size_t>(i) * 7 % kTokens];
            table.refund(principal, stamp);
        }
        admit_ns = std::min(admit_ns, (middle - begin) / kDecisions);
        refund_ns = std::min(refund_ns, (cpu_ns() - middle) / kDecisions);
    }
    (void)printf("{\"admit_ns\":%.1f,\"refund_ns\":%.1f}\n", admit_ns,
                 refund_ns);
    return 0;
}

} // namespace

} // namespace llmproxy

int main()
{
    return llmproxy::measure();
}
