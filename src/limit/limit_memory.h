#ifndef LLM_PROXY_SRC_LIMIT_LIMIT_MEMORY_H
#define LLM_PROXY_SRC_LIMIT_LIMIT_MEMORY_H

#include "llm_proxy/base/digest.h"
#include "llm_proxy/base/error.h"
#include "llm_proxy/base/fd.h"
#include "llm_proxy/config/tokens.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include <pthread.h>

namespace llmproxy
{

// Processes that may share the counters: the one that serves, and earlier ones
// whose last streams have not ended.
constexpr size_t kMaxProcesses = 32;
constexpr int64_t kUnset = -1;

// What one token has used. In memory that processes share: no pointers, and a
// change of its layout takes another number in limit_memory.cc.
struct LimitRecord {
    pthread_mutex_t lock;
    Sha256 digest;
    int64_t minute_start_ms;
    uint64_t minute_used;
    int64_t day;
    uint64_t day_used;
    uint64_t running; // by all processes
    uint32_t running_of[kMaxProcesses];
};

// Held over a process that dies, too.
class SharedLock
{
public:
    explicit SharedLock(pthread_mutex_t &mutex);
    ~SharedLock() { pthread_mutex_unlock(&mutex_); }
    SharedLock(const SharedLock &) = delete;
    SharedLock &operator=(const SharedLock &) = delete;

private:
    pthread_mutex_t &mutex_;
};

// The records of all tokens, in memory that a descriptor stands for. Records
// are never moved or freed.
class LimitMemory
{
public:
    // New memory, without records.
    LimitMemory();
    ~LimitMemory();
    LimitMemory(const LimitMemory &) = delete;
    LimitMemory &operator=(const LimitMemory &) = delete;

    // Goes on with the records of another process, instead of its own. Before
    // there are any. False: they have another layout, or too many share them.
    [[nodiscard]] bool adopt(Fd memory, Error &err);
    // To be given to another process; 100 or above.
    int fd() const { return fd_.get(); }

    // Any thread.
    LimitRecord &record(uint32_t slot);
    size_t process() const { return process_; }

    // One thread alone calls these. A token's slot, made if it has none yet.
    uint32_t slot_of(const Sha256 &digest);
    const std::unordered_map<Sha256, uint32_t, DigestHash> &slots();
    // Takes back what processes held that have died. True if there is another
    // one that lives.
    bool reclaim();

private:
    struct Header;
    void create();
    void map_header();
    void unmap();
    [[nodiscard]] bool enter();
    void leave();
    void map_block(size_t block);
    void learn_slots();
    void release(size_t process);
    bool lock_place(size_t process) const;
    bool is_alive(size_t process) const;

    Fd fd_;
    Header *header_ = nullptr;
    size_t process_ = 0;                                  // our place
    std::array<std::atomic<LimitRecord *>, 23> blocks_{}; // any 32-bit slot
    std::unordered_map<Sha256, uint32_t, DigestHash> slots_;
};

} // namespace llmproxy

#endif
