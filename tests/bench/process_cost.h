#ifndef LLM_PROXY_TESTS_BENCH_PROCESS_COST_H
#define LLM_PROXY_TESTS_BENCH_PROCESS_COST_H

#include <cstdint>

#include <sys/types.h>

namespace llmproxy
{

// What the kernel has counted for all threads of a process.
struct ProcessCost {
    uint64_t cpu_ns = 0;
    uint64_t wait_ns = 0; // ready to run while another task had the core
    uint64_t rss_anon_kib = 0;
};

// Ends the program when there is no such process.
ProcessCost read_process_cost(pid_t pid);

} // namespace llmproxy

#endif
