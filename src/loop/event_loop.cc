// The loop over libevent: watches, lazy timers, messages from other threads
// and the graveyard. Knows nothing of HTTP.
#include "llm_proxy/loop/event_loop.h"

#include "llm_proxy/base/clock.h"
#include "llm_proxy/base/log.h"

#include <algorithm>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

namespace llmproxy
{

namespace
{

// Descriptors of one turn: about half a millisecond of small pieces.
constexpr int kServedPerTurn = 32;
// Asking costs as much as all that are ready, so not after each turn.
constexpr int kServedPerRound = 512;
constexpr int kPriorities = static_cast<int>(Urgency::Fair) + 1;

} // namespace

IoWatch::IoWatch(EventLoop &loop, int fd, IoHandler &handler, Urgency urgency)
    : loop_(loop), handler_(handler),
      read_event_(
          event_new(loop.base(), fd, EV_READ | EV_PERSIST, event_cb, this)),
      write_event_(
          event_new(loop.base(), fd, EV_WRITE | EV_PERSIST, event_cb, this))
{
    if (read_event_ == nullptr || write_event_ == nullptr) {
        fatal("event_new: out of memory");
    }
    for (event *each : {read_event_, write_event_}) {
        event_priority_set(each, static_cast<int>(urgency));
    }
}

IoWatch::~IoWatch()
{
    event_free(read_event_);
    event_free(write_event_);
}

void IoWatch::want(bool read, bool write)
{
    if (read != read_) {
        read_ = read;
        read ? event_add(read_event_, nullptr) : event_del(read_event_);
    }
    if (write != write_) {
        write_ = write;
        write ? event_add(write_event_, nullptr) : event_del(write_event_);
    }
}

void IoWatch::event_cb(int, short what, void *arg) noexcept
{
    IoWatch *watch = static_cast<IoWatch *>(arg);
    EventLoop &loop = watch->loop_;
    watch->handler_.on_io((what & EV_READ) != 0, (what & EV_WRITE) != 0);
    loop.count_served(); // may free the watch
}

Timer::Timer(EventLoop &loop, TimerHandler &handler)
    : loop_(loop), handler_(handler),
      event_(event_new(loop.base(), -1, 0, event_cb, this))
{
    if (event_ == nullptr) {
        fatal("event_new: out of memory");
    }
}

Timer::~Timer()
{
    event_free(event_);
}

void Timer::arm(int64_t delay_ms)
{
    deadline_ms_ = loop_.now_ms() + std::max<int64_t>(delay_ms, 0);
    if (scheduled_ms_ == -1 || deadline_ms_ < scheduled_ms_) {
        schedule(deadline_ms_);
    }
}

void Timer::schedule(int64_t at_ms)
{
    const int64_t delay = std::max<int64_t>(at_ms - loop_.now_ms(), 0);
    timeval tv;
    tv.tv_sec = delay / 1000;
    tv.tv_usec = (delay % 1000) * 1000;
    event_add(event_, &tv);
    scheduled_ms_ = at_ms;
}

void Timer::event_cb(int, short, void *arg) noexcept
{
    Timer *timer = static_cast<Timer *>(arg);
    timer->scheduled_ms_ = -1;
    if (timer->deadline_ms_ == -1) {
        return;
    }
    if (timer->deadline_ms_ > timer->loop_.now_ms()) {
        timer->schedule(timer->deadline_ms_);
        return;
    }
    timer->deadline_ms_ = -1;
    timer->handler_.on_timer(*timer); // may free the timer
}

EventLoop::EventLoop()
{
    event_config *config = event_config_new();
    if (config != nullptr) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    }
    base_ = event_base_new_with_config(config);
    event_config_free(config);
    wake_fd_ = Fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (base_ == nullptr || !wake_fd_.valid() ||
        event_base_priority_init(base_, kPriorities) == -1) {
        fatal("cannot create an event loop");
    }
    wake_event_ =
        event_new(base_, wake_fd_.get(), EV_READ | EV_PERSIST, wake_cb, this);
    event_add(wake_event_, nullptr);
}

EventLoop::~EventLoop()
{
    if (!graveyard_.empty()) {
        fatal("what was buried outlives its loop");
    }
    event_free(wake_event_);
    event_base_free(base_);
}

void EventLoop::run()
{
    while (!stopped_) {
        if (event_base_loop(base_, EVLOOP_ONCE) == -1) {
            fatal("event_base_loop failed");
        }
        end_turn();
        served_ = 0;
        longest_round_ns_ = std::max(longest_round_ns_, round_ns_);
        round_ns_ = 0;
    }
}

// libevent keeps those that are left in order.
void EventLoop::count_served()
{
    served_++;
    if (stopped_ || served_ == kServedPerRound) {
        event_base_loopbreak(base_);
    } else if (served_ % kServedPerTurn == 0) {
        end_turn();
    }
}

// Waiting takes no CPU, so what one turn took is what has been taken since
// the end of the one before.
void EventLoop::note_turn()
{
    timespec now = {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    const int64_t now_ns =
        static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
    if (turn_began_ns_ > 0) { // the first turn began before the measuring
        const int64_t took_ns = now_ns - turn_began_ns_;
        longest_turn_ns_ = std::max(longest_turn_ns_, took_ns);
        round_ns_ += took_ns;
    }
    turn_began_ns_ = now_ns;
}

void EventLoop::end_turn()
{
    bool again = true;
    while (again) {
        again = false;
        for (size_t i = 0; i < turn_end_.size(); i++) {
            again = turn_end_[i]->on_turn_end() || again;
        }
    }
    // What a destructor buries is freed with the next turn.
    std::vector<std::unique_ptr<Buried>> dead;
    dead.swap(graveyard_);
    for (std::unique_ptr<Buried> &object : dead) {
        if (!object->at_rest()) {
            graveyard_.push_back(std::move(object));
        }
    }
    dead.clear();
    if (graveyard_.empty()) {
        graveyard_.swap(dead); // keeps its memory
    }
    now_ms_ = -1;
    if (turn_began_ns_ != -1) {
        note_turn();
    }
}

void EventLoop::post(std::function<void()> task)
{
    bool first;
    {
        const std::lock_guard<std::mutex> guard(posted_lock_);
        first = posted_.empty();
        posted_.push_back(std::move(task));
    }
    if (first) {
        const uint64_t one = 1;
        // Fails only if the counter is full, and then the loop is awake.
        (void)!write(wake_fd_.get(), &one, sizeof(one));
    }
}

void EventLoop::wake_cb(int fd, short, void *arg) noexcept
{
    uint64_t count;
    (void)!read(fd, &count, sizeof(count));
    static_cast<EventLoop *>(arg)->run_posted();
}

void EventLoop::run_posted()
{
    std::vector<std::function<void()>> tasks;
    {
        const std::lock_guard<std::mutex> guard(posted_lock_);
        tasks.swap(posted_);
    }
    for (const std::function<void()> &task : tasks) {
        task();
    }
}

void EventLoop::bury(std::unique_ptr<Buried> object)
{
    if (object != nullptr) {
        graveyard_.push_back(std::move(object));
    }
}

void EventLoop::free_buried()
{
    while (!graveyard_.empty()) {
        std::vector<std::unique_ptr<Buried>> dead;
        dead.swap(graveyard_);
    }
}

void EventLoop::add_turn_end(TurnEndHandler &handler)
{
    turn_end_.push_back(&handler);
}

void EventLoop::remove_turn_end(TurnEndHandler &handler)
{
    turn_end_.erase(std::remove(turn_end_.begin(), turn_end_.end(), &handler),
                    turn_end_.end());
}

int64_t EventLoop::now_ms()
{
    if (now_ms_ == -1) {
        now_ms_ = SystemClock().mono_ms();
    }
    return now_ms_;
}

bool EventLoop::turn_is_long()
{
    constexpr int64_t long_ms = 3;
    return SystemClock().mono_ms() - now_ms() >= long_ms;
}

} // namespace llmproxy
