#ifndef LLM_PROXY_PROXY_BACKEND_NOTES_H
#define LLM_PROXY_PROXY_BACKEND_NOTES_H

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace llmproxy
{

// What became of the requests to one backend, for an operator who asks. Any
// thread.
class BackendNotes
{
public:
    void answered(int64_t wall_ms)
    {
        answered_.fetch_add(1, std::memory_order_relaxed);
        answered_ms_.store(wall_ms, std::memory_order_relaxed);
    }
    // `why` may hold what the backend sent.
    void failed(std::string_view why, int64_t wall_ms)
    {
        const std::lock_guard<std::mutex> guard(lock_);
        seen_.failed++;
        seen_.failed_ms = wall_ms;
        seen_.why = why.substr(0, kMostWhy);
    }

    struct Seen {
        uint64_t answered = 0; // whole, whatever their status
        uint64_t failed = 0;
        int64_t answered_ms = 0; // when last, since 1970; 0 = never
        int64_t failed_ms = 0;
        std::string why; // of the last failure
    };
    Seen seen()
    {
        const std::lock_guard<std::mutex> guard(lock_);
        Seen seen = seen_;
        seen.answered = answered_.load(std::memory_order_relaxed);
        seen.answered_ms = answered_ms_.load(std::memory_order_relaxed);
        return seen;
    }

private:
    static constexpr size_t kMostWhy = 200;

    std::atomic<uint64_t> answered_{0};
    std::atomic<int64_t> answered_ms_{0};
    std::mutex lock_; // guards seen_
    Seen seen_;
};

} // namespace llmproxy

#endif
