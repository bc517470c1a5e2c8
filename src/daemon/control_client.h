#ifndef LLM_PROXY_DAEMON_CONTROL_CLIENT_H
#define LLM_PROXY_DAEMON_CONTROL_CLIENT_H

#include "llm_proxy/base/fd.h"
#include "llm_proxy/loop/event_loop.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "control.h"

namespace llmproxy
{

// One client of the control socket, from its line to the end of its answer.
// Owned by the Control; ends through Control::forget(), which buries it.
class Control::Client final : public Buried,
                              private IoHandler,
                              private TimerHandler
{
public:
    Client(Control &control, uint64_t id, Fd fd);
    ~Client() override = default;
    Client(const Client &) = delete;
    Client &operator=(const Client &) = delete;

    // It is the client that others wait for: for its line, or until it reads.
    bool keeps_waiting() const { return state_ != State::Asking; }
    void on_worker_answer(uint64_t round, size_t worker, WorkerAnswer answer);

private:
    enum class State { Reading, Asking, Writing, Closed };
    using Render = std::string (*)(const ControlView &, const WorkerAnswers &);

    void on_io(bool readable, bool writable) override;
    void on_timer(Timer &timer) override;
    void read_line();
    void take_line(std::string_view line);
    void run(const ControlRequest &request);
    void reload();
    void drain();
    void log_level(const ControlRequest &request);
    void reset_limits(const std::string &label);
    void forget_limits();
    // Puts the question to the workers from `first` to `last`; `then` goes on
    // when all have answered, or a second is over.
    void ask(const WorkerQuestion &question, size_t first, size_t last,
             void (Client::*then)());
    void answer_with_all();
    void answer(std::string text);
    void write_some();
    void close();

    Control &control_;
    uint64_t id_;
    Fd fd_;
    IoWatch watch_;
    Timer timer_;
    State state_ = State::Reading;
    std::string line_;
    std::string out_;
    size_t written_ = 0;
    uint64_t round_ = 0; // of questions
    size_t missing_ = 0; // answers
    WorkerAnswers answers_;
    void (Client::*then_)() = nullptr;
    Render render_ = nullptr;
    std::shared_ptr<const Config> config_; // of a label that is reset
    const Principal *principal_ = nullptr; // in it
};

} // namespace llmproxy

#endif
