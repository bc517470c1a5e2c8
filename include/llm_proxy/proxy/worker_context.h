#ifndef LLM_PROXY_PROXY_WORKER_CONTEXT_H
#define LLM_PROXY_PROXY_WORKER_CONTEXT_H

#include "llm_proxy/base/byte_budget.h"
#include "llm_proxy/base/clock.h"
#include "llm_proxy/base/ids.h"
#include "llm_proxy/config/settings.h"
#include "llm_proxy/limit/memory_limiter.h"
#include "llm_proxy/limit/receipt_book.h"
#include "llm_proxy/limit/store_health.h"
#include "llm_proxy/loop/client_stream.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/loop/helper.h"
#include "llm_proxy/proxy/access_log.h"
#include "llm_proxy/proxy/backend_notes.h"
#include "llm_proxy/upstream/backend_gate.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace llmproxy
{

class ModelCatalog;
class ModelDetails;

// What the workers of one process share. Owned by the supervisor, outlives
// every worker; each member is safe from any thread.
struct ProcessState {
    explicit ProcessState(const Clock &process_clock)
        : clock(process_clock), limits(process_clock)
    {
        append_random_hex(receipt_secret, 64);
        append_random_hex(receipt_counter, 16);
    }

    const Clock &clock;
    MemoryLimitTable limits;
    ReceiptBook receipts;
    // Signs receipts where none is configured: the process' own.
    std::string receipt_secret;
    // Receipt::counter of units that this process alone counts.
    std::string receipt_counter;
    StoreHealth limit_store;
    BackendGate gates[kBackends];
    ByteBudget buffered;
    // Room that is set aside for bodies whose length was announced; the same
    // limit.
    ByteBudget reserved;
    BackendNotes backends[kBackends];
    AccessLog access_log;
    // Exchanges that have ended, by Cause.
    std::atomic<uint64_t> ended[kCauses] = {};
    std::atomic<uint64_t> connections{0};
    std::atomic<bool> draining{false}; // /readyz says 503
};

// What the exchanges of one worker use. Owned by the worker, outlives its
// connections.
struct WorkerContext {
    EventLoop &loop;
    Helper &helper;
    UpstreamPool &pool;
    Limiter &limiter;
    ModelCatalog &catalog;
    ModelDetails &details;
    AccessLogBuffer &access_log;
    ReadBuffer &read_buffer;
    ProcessState &process;
    // The newest snapshot; an exchange pins the one it began with.
    std::shared_ptr<const Config> config;
    // Grown output buffers between two bursts, lent to relays, so that a
    // burst neither allocates nor leaves its size with a quiet stream.
    std::vector<std::string> spare_buffers;
    // The listeners are closed: answers end their connections.
    bool closing = false;
    uint64_t last_exchange_id = 0;
};

} // namespace llmproxy

#endif
