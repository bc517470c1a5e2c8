#ifndef LLM_PROXY_LOOP_EVENT_LOOP_H
#define LLM_PROXY_LOOP_EVENT_LOOP_H

#include "llm_proxy/base/fd.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

struct event;
struct event_base;

namespace llmproxy
{

class EventLoop;
class Timer;

// Something that may be freed only after the callbacks of this turn.
class Buried
{
public:
    virtual ~Buried() = default;
    // False keeps it for another turn: a thread is still at work in it.
    virtual bool at_rest() const { return true; }
};

class IoHandler
{
public:
    // From the loop. An error or a hang-up of the peer counts as readable.
    virtual void on_io(bool readable, bool writable) = 0;

protected:
    ~IoHandler() = default;
};

// Whose turn it is when many are ready: Soon is for the few that others wait
// behind, as listeners, and comes first whenever the kernel was asked.
enum class Urgency { Soon, Fair };

// Watches one descriptor. Not movable: libevent holds its address.
class IoWatch
{
public:
    // The loop, the handler and the descriptor outlive the watch.
    IoWatch(EventLoop &loop, int fd, IoHandler &handler,
            Urgency urgency = Urgency::Fair);
    ~IoWatch();
    IoWatch(const IoWatch &) = delete;
    IoWatch &operator=(const IoWatch &) = delete;

    // Says what to wait for; costs a system call only if it changes.
    void want(bool read, bool write);
    bool wants_read() const { return read_; }
    bool wants_write() const { return write_; }

private:
    static void event_cb(int fd, short what, void *arg) noexcept;

    EventLoop &loop_;
    IoHandler &handler_;
    event *read_event_;
    event *write_event_;
    bool read_ = false;
    bool write_ = false;
};

class TimerHandler
{
public:
    // From the loop, once for each arm() that was not cancelled or renewed.
    virtual void on_timer(Timer &timer) = 0;

protected:
    ~TimerHandler() = default;
};

// A deadline that is cheap to move: pushing it out only writes a number down,
// the timer under it is set again when it fires early. Not movable.
class Timer
{
public:
    Timer(EventLoop &loop, TimerHandler &handler);
    ~Timer();
    Timer(const Timer &) = delete;
    Timer &operator=(const Timer &) = delete;

    void arm(int64_t delay_ms);
    void cancel() { deadline_ms_ = -1; }
    bool armed() const { return deadline_ms_ != -1; }

private:
    static void event_cb(int fd, short what, void *arg) noexcept;
    void schedule(int64_t at_ms);

    EventLoop &loop_;
    TimerHandler &handler_;
    event *event_;
    int64_t deadline_ms_ = -1;
    int64_t scheduled_ms_ = -1;
};

class TurnEndHandler
{
public:
    // After the callbacks of each turn, before the loop waits again. True: it
    // has called others, who may have left work to a handler in front of it,
    // so all are called once more.
    virtual bool on_turn_end() = 0;

protected:
    ~TurnEndHandler() = default;
};

// One thread's world of events. All of it belongs to the thread that calls
// run(), but post(), which any thread may call.
class EventLoop
{
public:
    EventLoop();
    ~EventLoop();
    EventLoop(const EventLoop &) = delete;
    EventLoop &operator=(const EventLoop &) = delete;

    // Returns after stop(), at the end of that turn.
    void run();
    void stop() { stopped_ = true; }
    // From now on run() takes the CPU time of each turn, which costs a system
    // call a turn: for benchmarks. Before run().
    void measure_turns() { turn_began_ns_ = 0; }
    // Of the longest turn so far, in microseconds; 0 unless measured.
    int64_t longest_turn_us() const { return longest_turn_ns_ / 1000; }
    // The same from one look at timers and listeners to the next.
    int64_t longest_round_us() const { return longest_round_ns_ / 1000; }

    // Hands `task` to the loop's thread; it runs in one of the next turns, in
    // the order of posting. Not for the request path: it allocates. A task
    // that was not run when the loop ends is dropped.
    void post(std::function<void()> task);

    // Frees `object` after the callbacks of this turn, or of the first one
    // that finds it at rest.
    void bury(std::unique_ptr<Buried> object);
    // Frees all that is buried, at rest or not. After run(), when no thread
    // is at work any more, and while what the buried refer to is there.
    void free_buried();

    // Handlers are called in the order they were added, each turn.
    void add_turn_end(TurnEndHandler &handler);
    void remove_turn_end(TurnEndHandler &handler);

    // Milliseconds, monotonic, read once a turn.
    int64_t now_ms();
    // More than 2 ms, 3 at most, have gone by in this turn: what can wait
    // should wait for the next. Reads the clock.
    bool turn_is_long();
    event_base *base() { return base_; }

private:
    friend class IoWatch; // calls count_served()

    static void wake_cb(int fd, short what, void *arg) noexcept;
    void run_posted();
    // A turn ends after a few dozen, so that a crowd that comes or leaves at
    // once does not hold back what waits for that, and the kernel is asked
    // again after a few hundred.
    void count_served();
    void end_turn();
    void note_turn();

    event_base *base_;
    event *wake_event_;
    Fd wake_fd_;
    std::mutex posted_lock_; // guards posted_
    std::vector<std::function<void()>> posted_;
    std::vector<std::unique_ptr<Buried>> graveyard_;
    std::vector<TurnEndHandler *> turn_end_;
    int64_t now_ms_ = -1;
    int served_ = 0;             // since libevent returned
    int64_t turn_began_ns_ = -1; // on the thread's CPU; -1 = not measured
    int64_t longest_turn_ns_ = 0;
    int64_t round_ns_ = 0; // of this round's turns
    int64_t longest_round_ns_ = 0;
    bool stopped_ = false;
};

} // namespace llmproxy

#endif
