// The change from one process to the next, from both sides.
#include "upgrade.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spawn.h"

namespace llmproxy
{

namespace
{

// From the new process.
constexpr std::string_view kReady = "ready";
constexpr std::string_view kTook = "took"; // it has all, and serves from now on
constexpr std::string_view kReopen = "reopen"; // the logs
constexpr std::string_view kEnd = "end ";      // and milliseconds
// From the old one.
constexpr std::string_view kSecret = "secret ";
constexpr std::string_view kCounter = "counter ";
constexpr std::string_view kGo = "go";
constexpr std::string_view kReload = "reload"; // one was asked for meanwhile
constexpr std::string_view kYours = "yours";   // the old one accepts no more
// From both.
constexpr std::string_view kReceipt = "receipt ";

constexpr int64_t kGoMs = 10'000;
constexpr int64_t kReclaimMs = 1000;

std::string how_it_ended(int status)
{
    return WIFSIGNALED(status)
               ? "it was ended by signal " + std::to_string(WTERMSIG(status))
               : "it ended with " + std::to_string(WEXITSTATUS(status));
}

} // namespace

Upgrade::Upgrade(EventLoop &loop, ProcessState &process, Launch &launch,
                 UpgradeHost &host)
    : loop_(loop), process_(process), launch_(launch), host_(host),
      deadline_(loop, *this), reclaim_timer_(loop, *this)
{
}

Upgrade::~Upgrade()
{
    (void)process_.receipts.watch(nullptr);
    abandon();
}

void Upgrade::begin(const std::vector<PassedSocket> &sockets,
                    int64_t timeout_ms)
{
    Error err;
    if (child_ != -1) {
        log_notice("an upgrade is under way already");
        return;
    }
    if (!start(sockets, err)) {
        log_error("upgrade failed: %s", err.message.c_str());
        words_.reset();
        successor_.reset();
        return;
    }
    log_notice("upgrade: process %d is starting", static_cast<int>(child_));
    successor_->listen();
    words_->listen();
    deadline_.arm(timeout_ms);
}

bool Upgrade::start(const std::vector<PassedSocket> &sockets, Error &err)
{
    int ends[2];
    int pipe_ends[2];
    if (getpid() == 1) {
        err.message = "process 1 cannot leave, restart the container";
        return false;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1) {
        err.message = strerror(errno);
        return false;
    }
    const Fd theirs(ends[1]);
    ChannelHandler &handler = *this;
    successor_ = std::make_unique<Channel>(loop_, Fd(ends[0]), handler);
    if (pipe2(pipe_ends, O_CLOEXEC) == -1) {
        err.message = strerror(errno);
        return false;
    }
    const Fd their_words(pipe_ends[1]);
    words_ = std::make_unique<Channel>(loop_, Fd(pipe_ends[0]), handler);

    std::vector<PassedSocket> passed = sockets;
    passed.push_back({theirs.get(), kPassedChannel});
    passed.push_back({process_.limits.memory(), kPassedLimits});
    passed.push_back({STDERR_FILENO, kPassedStderr});
    if (launch_.pid_file.fd() != -1) {
        passed.push_back({launch_.pid_file.fd(), kPassedPidFile});
    }
    Program program;
    program.path = launch_.program;
    program.arguments = launch_.arguments;
    program.environment = launch_.environment;
    pass_on(passed, program.environment);
    for (const PassedSocket &each : passed) {
        program.passed.push_back(each.fd);
    }
    program.error_output = their_words.get();
    child_ = spawn(program, err);
    return child_ != -1;
}

void Upgrade::abandon()
{
    if (under_way()) {
        (void)kill(child_, SIGKILL);
        (void)waitpid(child_, nullptr, 0);
        reload_due_ = false;
        fail("this process ends");
    }
}

void Upgrade::fail(const std::string &why)
{
    log_error("upgrade failed: %s; this process goes on", why.c_str());
    child_ = -1;
    deadline_.cancel();
    successor_.reset();
    if (std::exchange(reload_due_, false)) {
        host_.on_reload_due();
    }
}

void Upgrade::on_child()
{
    int status = 0;
    if (child_ == -1 || waitpid(child_, &status, WNOHANG) != child_) {
        return;
    }
    const std::string how = how_it_ended(status);
    if (replaced_) {
        log_notice("the process that took over has ended: %s", how.c_str());
        child_ = -1;
    } else {
        fail(how);
    }
}

// Until it has answered, the new process may still be lost.
void Upgrade::hand_over()
{
    ReceiptWitness &witness = *this;
    successor_->send(std::string(kSecret) + process_.receipt_secret);
    successor_->send(std::string(kCounter) + process_.receipt_counter);
    for (const ReceiptNote &note : process_.receipts.watch(&witness)) {
        std::string line(kReceipt);
        line += format_receipt_note(note);
        successor_->send(line);
    }
    successor_->send(kGo);
}

void Upgrade::leave()
{
    replaced_ = true;
    deadline_.cancel();
    log_notice("upgrade: process %d takes over", static_cast<int>(child_));
    host_.on_replaced(child_);
    if (std::exchange(reload_due_, false)) {
        successor_->send(kReload);
    }
    successor_->send(kYours);
}

bool Upgrade::adopt_limits(Error &err)
{
    return process_.limits.adopt(std::move(launch_.limits), err);
}

bool Upgrade::take_over(Error &err)
{
    ChannelHandler &handler = *this;
    predecessor_ =
        std::make_unique<Channel>(loop_, std::move(launch_.channel), handler);
    predecessor_->send(kReady);
    if (!take_until(kGo)) {
        err.message = "the old process does not hand over";
        return false;
    }
    predecessor_->send(kTook);
    // One that is gone by now accepts nothing either.
    (void)take_until(kYours);
    ReceiptWitness &witness = *this;
    (void)process_.receipts.watch(&witness);
    predecessor_->listen();
    reclaim_timer_.arm(kReclaimMs);
    return true;
}

// Takes what the old process says up to `last`; false if that does not come.
bool Upgrade::take_until(std::string_view last)
{
    std::string line;
    do {
        if (!predecessor_->wait_line(line, kGoMs)) {
            return false;
        }
        if (starts_with(line, kSecret)) {
            process_.receipt_secret = line.substr(kSecret.size());
        } else if (starts_with(line, kCounter)) {
            process_.receipt_counter = line.substr(kCounter.size());
        } else if (starts_with(line, kReceipt)) {
            merge(std::string_view(line).substr(kReceipt.size()));
        } else if (line == kReload) {
            reload_due_ = true;
        }
    } while (line != last);
    return true;
}

bool Upgrade::has_predecessors() const
{
    return predecessor_ != nullptr && predecessor_->is_open();
}

void Upgrade::end_predecessors(int64_t timeout_ms)
{
    if (has_predecessors()) {
        std::string line(kEnd);
        append_u64(line, static_cast<uint64_t>(timeout_ms));
        predecessor_->send(line);
    }
}

void Upgrade::reopen_predecessors_logs()
{
    if (has_predecessors()) {
        predecessor_->send(kReopen);
    }
}

void Upgrade::merge(std::string_view words)
{
    ReceiptNote note;
    if (parse_receipt_note(words, note)) {
        process_.receipts.merge(note, process_.clock.mono_ms());
    }
}

void Upgrade::on_line(Channel &channel, std::string_view line)
{
    uint64_t timeout_ms = 0;
    if (&channel == words_.get()) {
        log_notice("upgrade: the new process says: %s",
                   std::string(line).c_str());
    } else if (starts_with(line, kReceipt)) {
        merge(line.substr(kReceipt.size()));
        Channel *other = &channel == successor_.get() ? predecessor_.get()
                                                      : successor_.get();
        if (other != nullptr) {
            other->send(line);
        }
    } else if (&channel == successor_.get() && line == kReady && !replaced_) {
        hand_over();
    } else if (&channel == successor_.get() && line == kTook && !replaced_) {
        leave();
    } else if (&channel == successor_.get() && line == kReopen) {
        host_.on_reopen_asked();
    } else if (&channel == successor_.get() && starts_with(line, kEnd) &&
               parse_u64(line.substr(kEnd.size()), timeout_ms)) {
        host_.on_end_asked(static_cast<int64_t>(timeout_ms));
    }
}

void Upgrade::on_closed(Channel &channel)
{
    if (&channel == predecessor_.get()) {
        process_.limits.reclaim();
        host_.on_predecessors_gone();
    }
}

void Upgrade::on_receipt(const ReceiptNote &note)
{
    std::string line(kReceipt);
    line += format_receipt_note(note);
    loop_.post([this, line] {
        for (Channel *channel : {predecessor_.get(), successor_.get()}) {
            if (channel != nullptr) {
                channel->send(line);
            }
        }
    });
}

void Upgrade::on_timer(Timer &timer)
{
    if (&timer == &deadline_) {
        log_error("upgrade: process %d is not ready in time",
                  static_cast<int>(child_));
        successor_.reset();          // what it has said by now comes too late
        (void)kill(child_, SIGKILL); // on_child() does the rest
    } else if (process_.limits.reclaim()) {
        reclaim_timer_.arm(kReclaimMs);
    }
}

} // namespace llmproxy
