// Turns of the loop: how much is done in one, and in which order.
#include "llm_proxy/loop/event_loop.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include <sys/eventfd.h>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

constexpr int kCrowd = 100;

// Ready from the start; writes down that it was served, once.
class Guest final : public Buried, private IoHandler
{
public:
    Guest(EventLoop &loop, int name, std::vector<int> &served,
          Urgency urgency = Urgency::Fair)
        : name_(name), served_(served),
          fd_(eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC)),
          watch_(loop, fd_.get(), *this, urgency)
    {
        watch_.want(true, true);
    }
    std::function<void()> then = [] {};

private:
    void on_io(bool, bool) override
    {
        served_.push_back(name_);
        watch_.want(false, false);
        then();
    }

    int name_;
    std::vector<int> &served_;
    Fd fd_;
    IoWatch watch_;
};

// Notes how many were served by the end of each turn.
class Turns final : private TurnEndHandler
{
public:
    Turns(EventLoop &loop, const std::vector<int> &served)
        : loop_(loop), served_(served)
    {
        loop_.add_turn_end(*this);
    }
    ~Turns() { loop_.remove_turn_end(*this); }
    Turns(const Turns &) = delete;
    Turns &operator=(const Turns &) = delete;

    std::vector<size_t> ends;

private:
    bool on_turn_end() override
    {
        ends.push_back(served_.size());
        if (served_.size() == kCrowd) {
            loop_.stop();
        }
        return false;
    }

    EventLoop &loop_;
    const std::vector<int> &served_;
};

} // namespace

static void a_crowd_takes_several_turns(void **)
{
    EventLoop loop;
    std::vector<int> served;
    std::vector<std::unique_ptr<Guest>> crowd;
    for (int i = 0; i < kCrowd; i++) {
        crowd.push_back(std::make_unique<Guest>(loop, i, served));
    }
    Turns turns(loop, served);
    loop.run();

    size_t before = 0;
    size_t most = 0;
    for (const size_t end : turns.ends) {
        most = std::max(most, end - before);
        before = end;
    }
    assert_true(most <= 32);
    // Each once: nobody is passed over by those who come after.
    std::sort(served.begin(), served.end());
    for (int i = 0; i < kCrowd; i++) {
        assert_int_equal(served[static_cast<size_t>(i)], i);
    }
}

static void who_others_wait_behind_comes_first(void **)
{
    constexpr int kLate = 20; // and yet heard of with the first
    EventLoop loop;
    std::vector<int> served;
    std::vector<std::unique_ptr<Guest>> crowd;
    for (int i = 0; i < kCrowd; i++) {
        crowd.push_back(std::make_unique<Guest>(
            loop, i, served, i == kLate ? Urgency::Soon : Urgency::Fair));
    }
    const Turns turns(loop, served);
    loop.run();
    assert_int_equal(served.front(), kLate);
}

// Each is freed while the loop still holds it as writable, and those behind
// it as both.
static void the_served_may_be_buried(void **)
{
    EventLoop loop;
    std::vector<int> served;
    std::vector<std::unique_ptr<Guest>> crowd(kCrowd);
    for (int i = 0; i < kCrowd; i++) {
        std::unique_ptr<Guest> &guest = crowd[static_cast<size_t>(i)];
        guest = std::make_unique<Guest>(loop, i, served);
        guest->then = [&loop, &guest] { loop.bury(std::move(guest)); };
    }
    const Turns turns(loop, served);
    loop.run();
    loop.free_buried();
    assert_int_equal(served.size(), kCrowd);
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_crowd_takes_several_turns),
        cmocka_unit_test(who_others_wait_behind_comes_first),
        cmocka_unit_test(the_served_may_be_buried),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
