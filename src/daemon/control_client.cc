// What one client of the control socket says and gets. Commands are looked up
// in the table of control_commands.h; what they do stands here.
#include "control_client.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/socket.h>

#include "control_document.h"
#include "options.h"

namespace llmproxy
{

namespace
{

constexpr int64_t kLineMs = 5000;
constexpr int64_t kWorkersMs = 1000;
constexpr int64_t kWriteMs = 10000;
constexpr size_t kMostListed = 1000; // exchanges of one worker

} // namespace

Control::Client::Client(Control &control, uint64_t id, Fd fd)
    : control_(control), id_(id), fd_(std::move(fd)),
      watch_(control.loop_, fd_.get(), *this), timer_(control.loop_, *this)
{
    watch_.want(true, false);
    timer_.arm(kLineMs);
}

void Control::Client::on_io(bool, bool)
{
    if (state_ == State::Reading) {
        read_line();
    } else if (state_ == State::Writing) {
        write_some();
    }
}

void Control::Client::on_timer(Timer &)
{
    if (state_ == State::Asking) {
        round_++; // what comes later belongs to nobody
        (this->*then_)();
    } else if (state_ == State::Reading) {
        answer(refusal(kExitUsage, "no command has come in time"));
    } else {
        close();
    }
}

void Control::Client::read_line()
{
    char bytes[kMaxControlLine];
    const ssize_t got = recv(fd_.get(), bytes, sizeof bytes, 0);
    if (got == -1) {
        if (errno != EAGAIN && errno != EINTR) {
            close();
        }
        return;
    }
    line_.append(bytes, static_cast<size_t>(got));
    const size_t end = line_.find('\n');
    if (std::min(end, line_.size()) >= kMaxControlLine) {
        answer(refusal(kExitUsage, "the line is too long"));
    } else if (end != std::string::npos || (got == 0 && !line_.empty())) {
        const std::string line = line_.substr(0, end);
        take_line(line);
    } else if (got == 0) {
        close();
    }
}

void Control::Client::take_line(std::string_view line)
{
    if (ends_with(line, "\r")) {
        line.remove_suffix(1);
    }
    ControlRequest request;
    Error err;
    if (parse_control(split_list(line, ' '), request, err)) {
        run(request);
    } else {
        answer(refusal(kExitUsage, err.message));
    }
}

void Control::Client::run(const ControlRequest &request)
{
    const size_t workers = control_.host_.crew().size();
    WorkerQuestion question;
    switch (request.row->command) {
    case ControlCommand::Status:
        render_ = status_answer;
        break;
    case ControlCommand::Top:
        render_ = top_answer;
        question.exchanges = kMostListed;
        question.limits = true;
        break;
    case ControlCommand::Tokens:
        render_ = tokens_answer;
        question.limits = true;
        break;
    case ControlCommand::Backends:
        answer(backends_answer(control_.host_.control_view()));
        return;
    case ControlCommand::Config:
        answer(config_answer(control_.host_.control_view()));
        return;
    case ControlCommand::Reload:
        reload();
        return;
    case ControlCommand::Drain:
        drain();
        return;
    case ControlCommand::LogLevel:
        log_level(request);
        return;
    case ControlCommand::LimiterReset:
        reset_limits(request.arguments[0]);
        return;
    }
    // The memory store is looked at from here.
    config_ = control_.host_.control_view().config;
    question.config = config_;
    question.limits =
        question.limits && config_->limit_store == LimitStore::Redis;
    ask(question, 0, workers, &Client::answer_with_all);
}

void Control::Client::ask(const WorkerQuestion &question, size_t first,
                          size_t last, void (Client::*then)())
{
    state_ = State::Asking;
    watch_.want(false, false);
    timer_.arm(kWorkersMs);
    then_ = then;
    missing_ = last - first;
    answers_.assign(control_.host_.crew().size(), WorkerAnswer());
    control_.ask(id_, ++round_, first, last, question);
}

void Control::Client::on_worker_answer(uint64_t round, size_t worker,
                                       WorkerAnswer answer)
{
    if (state_ != State::Asking || round != round_) {
        return;
    }
    answers_[worker] = std::move(answer);
    missing_--;
    if (missing_ == 0) {
        (this->*then_)();
    }
}

void Control::Client::answer_with_all()
{
    ControlView view = control_.host_.control_view();
    view.config = config_; // a reload may have come between
    answer(render_(view, answers_));
}

void Control::Client::reload()
{
    const ControlView before = control_.host_.control_view();
    if (before.draining) {
        answer(refusal(kExitUnavailable,
                       "the daemon is draining: the settings stay"));
        return;
    }
    const ReloadResult result = control_.host_.reload();
    answer(reload_answer(control_.host_.control_view(), result));
}

void Control::Client::drain()
{
    const ControlView before = control_.host_.control_view();
    if (!before.draining) {
        control_.host_.drain();
    }
    ControlDocument doc(true);
    doc.json().boolean("was_draining", before.draining);
    doc.json().number("connections", before.process.connections.load());
    doc.json().number("timeout_ms",
                      static_cast<uint64_t>(before.config->drain_delay_ms +
                                            before.config->drain_timeout_ms));
    answer(doc.end());
}

void Control::Client::log_level(const ControlRequest &request)
{
    const LogLevel before = llmproxy::log_level();
    if (!request.arguments.empty()) {
        const std::vector<std::string_view> &names = log_level_names();
        const auto found =
            std::find(names.begin(), names.end(), request.arguments[0]);
        if (found == names.end()) {
            answer(refusal(kExitUsage, "a level is one of error, warning, "
                                       "notice, info, debug"));
            return;
        }
        log_set_level(static_cast<LogLevel>(found - names.begin()));
        log_notice("log level: %s", request.arguments[0].c_str());
    }
    ControlDocument doc(true);
    doc.json().text("level", log_level_name(llmproxy::log_level()));
    doc.json().text("before", log_level_name(before));
    answer(doc.end());
}

void Control::Client::reset_limits(const std::string &label)
{
    const ControlView view = control_.host_.control_view();
    config_ = view.config;
    std::vector<std::string_view> labels;
    for (const Principal &principal : config_->tokens.principals()) {
        labels.emplace_back(principal.label);
        if (principal.label == label) {
            principal_ = &principal;
        }
    }
    if (principal_ == nullptr) {
        std::string message = "no token has the label '";
        append_escaped(message, label, 64);
        const std::string_view nearest = nearest_name(label, labels);
        message += nearest.empty()
                       ? "'"
                       : "'; did you mean '" + std::string(nearest) + "'?";
        answer(refusal(kExitUsage, message));
        return;
    }
    // What stood in for a store that failed, too.
    view.process.limits.reset(*principal_);
    WorkerQuestion question;
    question.config = config_;
    question.reset = principal_;
    ask(question, 0, 1, &Client::forget_limits);
}

// The store has forgotten; now what workers know of it is wrong.
void Control::Client::forget_limits()
{
    const WorkerAnswer &first = answers_[0];
    if (!first.came || !first.why_not.empty()) {
        std::string why;
        append_escaped(why, first.came ? first.why_not : "no answer in time");
        answer(refusal(kExitUnavailable, "the limits are not reset: " + why));
        return;
    }
    WorkerQuestion question;
    question.config = config_;
    question.forget = principal_;
    render_ = reset_answer;
    log_notice("limits of %s are reset", principal_->label.c_str());
    ask(question, 0, answers_.size(), &Client::answer_with_all);
}

void Control::Client::answer(std::string text)
{
    out_ = std::move(text);
    state_ = State::Writing;
    timer_.arm(kWriteMs);
    write_some();
}

void Control::Client::write_some()
{
    while (written_ < out_.size()) {
        const ssize_t sent =
            send(fd_.get(), out_.data() + written_, out_.size() - written_,
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == -1) {
            if (errno == EAGAIN) {
                watch_.want(false, true);
                return;
            }
            if (errno == EINTR) {
                continue;
            }
            break;
        }
        written_ += static_cast<size_t>(sent);
    }
    close();
}

void Control::Client::close()
{
    if (state_ != State::Closed) {
        state_ = State::Closed;
        watch_.want(false, false);
        timer_.cancel();
        fd_.reset();
        control_.forget(id_);
    }
}

} // namespace llmproxy
