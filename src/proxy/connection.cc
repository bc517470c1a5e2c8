// One client's connection: the order of requests, the deadlines, and closing
// in a way that lets the client read the last answer.
#include "llm_proxy/proxy/connection.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/http/api_error.h"

#include <algorithm>
#include <utility>

#include "exchange_errors.h"

namespace llmproxy
{

namespace
{

// What may be dropped of an unread body to keep the connection.
constexpr size_t kMaxDropped = size_t{64} * 1024;
constexpr int64_t kLingerMs = 2000;
// What a client may send ahead of its turn, and one that has shown no token.
constexpr size_t kMaxAhead = size_t{64} * 1024;
constexpr size_t kMaxAheadUnknown = size_t{4} * 1024;
// A body that is slower than this for so long is an attack (R.U.D.Y.).
constexpr int64_t kMinBodyRate = 500; // bytes a second
constexpr int64_t kBodyWindowMs = int64_t{10} * 1000;

} // namespace

Connection::Connection(WorkerContext &context, ConnectionOwner &owner,
                       uint64_t id, Fd fd, std::string peer)
    : context_(context), owner_(owner), id_(id), peer_(std::move(peer)),
      stream_(context.loop, std::move(fd), context.read_buffer,
              context.process.buffered, *this),
      parser_(LintLimits()), timer_(context.loop, *this)
{
    timer_.arm(context_.config->head_timeout_ms);
}

Connection::~Connection() = default;

void Connection::turn_away()
{
    turned_away_ = true;
}

void Connection::set_state(State state)
{
    state_ = state;
}

size_t Connection::on_client_data(std::string_view bytes)
{
    size_t done = 0;
    for (;;) {
        if (state_ == State::Closed) {
            return bytes.size();
        }
        if (state_ == State::Linger) {
            // However much it is: closing on unread bytes would send a reset,
            // which can take the answer from a client that still uploads.
            return bytes.size();
        }
        if (state_ == State::Answer ||
            (state_ == State::Head && stream_.queued() > 0)) {
            // Pipelined: waits until the last answer is read.
            const size_t most = known_ ? kMaxAhead : kMaxAheadUnknown;
            if (!overrun_ && bytes.size() - done <= most) {
                return done;
            }
            overrun();
            return bytes.size();
        }
        size_t used = 0;
        const bool was_idle = state_ == State::Head && parser_.idle();
        const HttpEvent event = parser_.next(bytes.substr(done), used);
        done += used;
        if (was_idle && !parser_.idle() && event == HttpEvent::NeedMore) {
            // The first bytes of a head: it must be whole by then.
            timer_.arm(context_.config->head_timeout_ms);
        }
        if (!take_event(event)) {
            break;
        }
    }
    return done;
}

// It may have left, and its end would come only behind all that it sent.
void Connection::overrun()
{
    if (overrun_) {
        return; // the exchange ends as soon as the helper lets it
    }
    overrun_ = true;
    log_info("client %s: sent too much ahead of its turn, closed",
             peer_.c_str());
    if (state_ == State::Answer) {
        exchange_->cut(make_error(ApiErrorKind::BadHttp,
                                  "Too much was sent behind this request "
                                  "before it was answered."),
                       Cause::ClientError);
    } else {
        close();
    }
}

bool Connection::take_event(HttpEvent event)
{
    switch (event) {
    case HttpEvent::NeedMore:
        return false;
    case HttpEvent::Head:
        take_head();
        return true;
    case HttpEvent::Body:
        if (state_ == State::Body) {
            body_bytes_ += parser_.body().size();
            exchange_->on_body(parser_.body());
            watch_body_rate();
        } else if (state_ == State::Discard) {
            dropped_ += parser_.body().size();
            if (dropped_ > kMaxDropped) {
                linger();
            }
        }
        return true;
    case HttpEvent::Complete:
        complete_ = true;
        if (state_ == State::Body) {
            known_ = known_ || exchange_->has_token();
            set_state(State::Answer);
            exchange_->on_body_complete();
            if (state_ == State::Answer) {
                arm_answer_timer();
            }
        } else if (state_ == State::Discard) {
            request_done();
        }
        return true;
    case HttpEvent::Fault:
        take_fault();
        return true;
    }
    fatal("bad parser event");
}

void Connection::begin_exchange()
{
    ResponseSink &sink = *this;
    exchange_ = std::make_unique<Exchange>(context_, sink);
}

void Connection::take_head()
{
    request_ = &parser_.head();
    complete_ = false;
    dropped_ = 0;
    body_bytes_ = 0;
    body_since_ms_ = context_.loop.now_ms();
    parser_.set_max_body(context_.config->max_body_bytes);
    begin_exchange();
    set_state(State::Body);
    timer_.arm(context_.config->body_timeout_ms);
    if (turned_away_) {
        exchange_->turn_away(*request_);
        return;
    }
    exchange_->on_head(*request_);
}

void Connection::take_fault()
{
    if (state_ == State::Discard) {
        linger(); // the answer is out already; what follows is not HTTP
        return;
    }
    if (exchange_ == nullptr) {
        begin_exchange();
    }
    log_info("client %s: refused: rule %s", peer_.c_str(),
             parser_.fault().rule);
    const bool too_large = parser_.fault().status == 413;
    exchange_->on_fault(
        too_large ? too_large_error(exchange_->config().max_body_bytes)
                  : fault_error(parser_.fault()),
        Cause::ClientError);
}

void Connection::watch_body_rate()
{
    const int64_t elapsed = context_.loop.now_ms() - body_since_ms_;
    if (state_ != State::Body) {
        return;
    }
    if (elapsed > kBodyWindowMs) {
        if (static_cast<int64_t>(body_bytes_) * 1000 < elapsed * kMinBodyRate) {
            timed_out();
            return;
        }
        body_bytes_ = 0;
        body_since_ms_ = context_.loop.now_ms();
    }
    timer_.arm(context_.config->body_timeout_ms);
}

void Connection::arm_answer_timer()
{
    const int64_t wait = exchange_ == nullptr ? -1 : exchange_->tick();
    tick_at_ms_ = wait == -1 ? -1 : context_.loop.now_ms() + wait;
    arm_nearest();
}

int64_t Connection::stall_wait_ms() const
{
    return stream_.progress_ms() + context_.config->write_timeout_ms -
           context_.loop.now_ms();
}

// The exchange's next look, or the end of the client's patience.
void Connection::arm_nearest()
{
    int64_t wait =
        tick_at_ms_ == -1 ? -1 : tick_at_ms_ - context_.loop.now_ms();
    if (stream_.queued() > 0) {
        wait = wait == -1 ? stall_wait_ms() : std::min(wait, stall_wait_ms());
    }
    if (wait == -1) {
        timer_.cancel();
    } else {
        timer_.arm(std::max<int64_t>(wait, 1));
    }
}

void Connection::on_timer(Timer &)
{
    const bool stalled = stream_.queued() > 0 && stall_wait_ms() <= 0;
    switch (state_) {
    case State::Head:
        if (parser_.idle() && stream_.queued() > 0 && !stalled) {
            timer_.arm(stall_wait_ms()); // idle once it has read all
        } else if (parser_.idle() || stalled) {
            close();
        } else {
            timed_out();
        }
        return;
    case State::Body:
        timed_out();
        return;
    case State::Answer:
        if (stalled) {
            log_info("client %s: takes no bytes, closed", peer_.c_str());
            on_client_gone();
        } else {
            arm_answer_timer();
        }
        return;
    case State::Discard:
        linger();
        return;
    case State::Linger:
        if (stream_.queued() > 0 && !stalled) {
            timer_.arm(stall_wait_ms());
            return;
        }
        close();
        return;
    case State::Closed:
        return;
    }
}

void Connection::timed_out()
{
    if (exchange_ == nullptr) {
        begin_exchange();
    }
    ApiError error;
    error.kind = ApiErrorKind::RequestTimeout;
    exchange_->on_fault(error, Cause::Timeout);
}

void Connection::on_client_gone()
{
    if (state_ == State::Closed) {
        return;
    }
    if (exchange_ != nullptr) {
        keep_ = false;
        set_state(State::Linger); // over() must not read on
        exchange_->on_client_gone();
    }
    close();
}

void Connection::on_client_drained()
{
    if (state_ == State::Linger && stream_.queued() == 0) {
        stream_.shutdown_write();
        timer_.arm(kLingerMs);
        return;
    }
    if (state_ == State::Head && stream_.queued() == 0) {
        idle();
        stream_.offer_again();
        return;
    }
    if (exchange_ != nullptr) {
        exchange_->on_drained();
    }
}

bool Connection::can_keep_alive() const
{
    if (request_ == nullptr || !request_->keep_alive || context_.closing ||
        turned_away_) {
        return false;
    }
    if (complete_) {
        return true;
    }
    // Answered before the body was read: worth waiting for only if it is
    // short and surely on its way.
    return state_ == State::Body && !request_->chunked &&
           !request_->expect_continue &&
           (!request_->has_length || request_->content_length <= kMaxDropped);
}

void Connection::over()
{
    context_.loop.bury(std::move(exchange_));
    request_ = nullptr;
    if (state_ == State::Linger || state_ == State::Closed) {
        return;
    }
    if (!keep_) {
        linger();
    } else if (complete_) {
        request_done();
    } else {
        set_state(State::Discard); // its short body is still to come
        timer_.arm(context_.config->body_timeout_ms);
    }
}

void Connection::request_done()
{
    if (context_.closing) {
        linger();
        return;
    }
    set_state(State::Head);
    idle();
    // A pipelined request may be there already.
    stream_.offer_again();
}

// Waits for the next request, but first for the last answer to be read.
void Connection::idle()
{
    if (stream_.queued() > 0) {
        timer_.arm(stall_wait_ms());
    } else if (context_.closing) {
        close();
    } else {
        timer_.arm(context_.config->keepalive_timeout_ms);
    }
}

void Connection::linger()
{
    set_state(State::Linger);
    stream_.offer_again(); // drops what was kept
    if (stream_.queued() == 0) {
        stream_.shutdown_write();
        timer_.arm(kLingerMs);
    } else {
        timer_.arm(context_.config->write_timeout_ms);
    }
}

void Connection::close()
{
    if (state_ == State::Closed) {
        return;
    }
    set_state(State::Closed);
    timer_.cancel();
    owner_.on_connection_closed(*this);
}

void Connection::drain()
{
    if (state_ == State::Head && parser_.idle() && stream_.queued() == 0) {
        close();
    }
}

void Connection::shut_down()
{
    if (state_ == State::Body || state_ == State::Answer) {
        exchange_->cut(make_error(ApiErrorKind::ShuttingDown), Cause::Shutdown);
    } else if (state_ != State::Linger) {
        close();
    }
}

} // namespace llmproxy
