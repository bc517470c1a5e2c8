// Relays one request and its answer between the client's sink and a backend's
// transfer. Policy of failures and keep-alive comments lives here; bytes are
// the adapter's business, framing the connection's.
#include "llm_proxy/proxy/relay.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <utility>

#include "transfer_error.h"

namespace llmproxy
{

namespace
{

constexpr std::string_view kComment = ": keep-alive\n\n";
// A buffer that a burst has grown is not kept for a quiet stream, but a few of
// them by the worker.
constexpr size_t kKeptOutput = 4096;
constexpr size_t kSpareBuffers = 4;
constexpr size_t kUsefulSpare = 256;
constexpr size_t kMaxSpare = size_t{256} * 1024;
// What one transfer may bring, and its client be sent, in one turn of the
// loop; the rest waits.
constexpr size_t kMaxTurn = size_t{128} * 1024;

// Pieces of an answer that comes as fast as it can, worth a look at the clock.
constexpr size_t kBulk = 2048;

constexpr int64_t kLookAgainMs = 100; // while the helper is at work

const std::vector<Field> kNoFields;

// The client's head goes when the client does, a helper's work lasts.
ClientRequest without_fields(const ClientRequest &r)
{
    return {r.body,       r.facts,   r.sent_model, r.model,   r.model_removed,
            r.request_id, kNoFields, r.config,     r.backend, r.now_s};
}

} // namespace

Relay::Relay(WorkerContext &context, ResponseSink &sink, RelayOwner &owner,
             std::unique_ptr<Adapter> adapter, const Config &config,
             const FieldBlock &fields)
    : context_(context), sink_(sink), owner_(owner),
      adapter_(std::move(adapter)), config_(config), fields_(fields)
{
}

// A request that the helper translates.
struct Relay::LongStart {
    UpstreamRequest upstream;
    ApiError error;
    bool accepted = false;
};

Relay::~Relay()
{
    context_.process.buffered.give(charged_);
}

bool Relay::start(const ClientRequest &request, ApiError &err)
{
    backend_ = &request.backend;
    if (!request_) {
        request_.emplace(without_fields(request));
    }
    if (adapter_->starts_long(request)) {
        long_start_ = std::make_unique<LongStart>();
        begin_work();
        return true;
    }
    UpstreamRequest upstream;
    if (!adapter_->start(request, upstream, err)) {
        return false;
    }
    submit(std::move(upstream));
    return true;
}

void Relay::submit(UpstreamRequest request)
{
    wants_sse_ = adapter_->streaming();
    last_write_ms_ = context_.loop.now_ms();
    TransferOptions options;
    options.connect_timeout_ms = config_.connect_timeout_ms;
    options.first_byte_timeout_ms = config_.first_byte_timeout_ms;
    options.idle_timeout_ms = config_.stream_idle_timeout_ms;
    options.queue_timeout_ms = config_.queue_timeout_ms;
    transfer_ =
        context_.pool.submit(*backend_, std::move(request), options, *this);
}

void Relay::begin_work()
{
    at_work_ = true;
    context_.helper.run(*this);
}

void Relay::work()
{
    if (long_start_ != nullptr) {
        long_start_->accepted = adapter_->start(
            *request_, long_start_->upstream, long_start_->error);
    } else {
        status_ = adapter_->reply_long(out_);
    }
}

void Relay::on_worked()
{
    at_work_ = false;
    const std::unique_ptr<LongStart> started = std::move(long_start_);
    if (over_) {
        return;
    }
    if (cut_) {
        fail(cut_->first, cut_->second);
    } else if (started != nullptr && started->accepted) {
        submit(std::move(started->upstream));
    } else if (started != nullptr) {
        fail(started->error, Cause::ClientError);
    } else if (end_ && status_ == AdaptStatus::More) {
        take_end();
    } else {
        settle();
    }
}

Take Relay::on_upstream_head(const ReplyHead &head)
{
    status_ = adapter_->reply_head(head);
    return status_ == AdaptStatus::More ? Take::Taken : Take::Abort;
}

Take Relay::on_upstream_data(std::string_view bytes)
{
    if (!at_work_ &&
        (status_ == AdaptStatus::Done || status_ == AdaptStatus::Again)) {
        return Take::Taken; // bytes behind the end are nobody's
    }
    if (!at_work_ && status_ == AdaptStatus::Failed) {
        return Take::Abort;
    }
    // What was held off for the turn's length is taken when it comes again, so
    // that each gets on.
    held_off_ =
        !held_off_ && bytes.size() >= kBulk && context_.loop.turn_is_long();
    if (at_work_ || status_ == AdaptStatus::Long || sink_.congested() ||
        taken_ >= kMaxTurn || held_off_) {
        paused_ = true;
        return Take::Pause;
    }
    if (out_.capacity() < kUsefulSpare && !context_.spare_buffers.empty()) {
        out_.swap(context_.spare_buffers.back());
        context_.spare_buffers.pop_back();
    }
    taken_ += bytes.size();
    status_ = adapter_->reply_data(bytes, out_);
    return status_ == AdaptStatus::Failed ? Take::Abort : Take::Taken;
}

void Relay::on_upstream_turn()
{
    settle();
}

void Relay::on_upstream_end(const TransferEnd &end)
{
    times_ = transfer_->times();
    reached_ = reached_ || end.reached;
    if (over_) {
        return;
    }
    end_ = end;
    if (!at_work_) {
        take_end();
    }
}

void Relay::take_end()
{
    const TransferEnd &end = *end_;
    if (status_ == AdaptStatus::More && end.fault == TransferFault::None) {
        status_ = adapter_->reply_end(out_);
        if (status_ == AdaptStatus::More) {
            fatal("an adapter left an answer open");
        }
    }
    if (status_ != AdaptStatus::More) {
        settle();
        return;
    }
    const Cause cause = transfer_cause(end.fault);
    if (cause != Cause::Overloaded) {
        note_failure(end.detail.empty() ? "no answer in time" : end.detail);
    }
    fail(transfer_error(end, *backend_), cause);
}

void Relay::settle()
{
    if (over_ || at_work_) {
        return;
    }
    if (!charge()) {
        // The memory itself goes when the turn ends; what is counted until
        // then would have others refused that fit.
        context_.process.buffered.give(charged_);
        charged_ = 0;
        if (!begun_) {
            out_.clear();
        }
        ApiError error;
        error.kind = ApiErrorKind::Overloaded;
        error.no_retry = true; // the backend would begin anew
        fail(error, Cause::Overloaded);
        return;
    }
    flush(status_ == AdaptStatus::Done);
    taken_ = out_.size();
    if (!out_.empty()) {
        if (!sink_.congested()) {
            next_turn();
        }
    } else if (status_ == AdaptStatus::More) {
        go_on();
    } else if (status_ == AdaptStatus::Long) {
        begin_work();
    } else if (status_ == AdaptStatus::Again) {
        ask_again();
    } else if (status_ == AdaptStatus::Failed) {
        const char *code = api_error_code(adapter_->error());
        note_failure(std::string("answer failed: ") +
                     (code == nullptr ? "refused" : code));
        fail(adapter_->error(), Cause::BackendError);
    } else if (status_ == AdaptStatus::Done) {
        over_ = true;
        times_ = times();
        reached_ = true;
        UpstreamTransfer::let_finish(std::move(transfer_));
        notes().answered(context_.process.clock.wall_ms());
        owner_.on_relay_end(Cause::Done);
    }
}

// Takes what is held of the answer from the budget of buffered bytes, but for
// what goes on to the client in this turn: most of the time that is all.
bool Relay::charge()
{
    const size_t held =
        adapter_->held() + (out_.size() > kMaxTurn ? out_.size() : 0);
    ByteBudget &budget = context_.process.buffered;
    if (held > charged_) {
        if (!budget.try_take(held - charged_)) {
            return false;
        }
    } else if (held < charged_) {
        budget.give(charged_ - held);
    }
    charged_ = held;
    return true;
}

void Relay::ask_again()
{
    reached_ = true;
    UpstreamTransfer::let_finish(std::move(transfer_));
    end_.reset();
    status_ = AdaptStatus::More;
    paused_ = false;
    ApiError err;
    if (!start(*request_, err)) {
        fail(err, Cause::ClientError);
    }
}

void Relay::begin_answer()
{
    const AnswerShape &shape = adapter_->shape();
    AnswerHead head;
    head.status = shape.status;
    head.content_type = shape.content_type;
    head.fields = &fields_;
    head.more_fields = &shape.extra;
    head.length = shape.length;
    head.sse = shape.sse;
    sink_.begin(head);
    begun_ = true;
    answer_status_ = shape.status;
}

void Relay::note_answering()
{
    // Until the head has come, a dead connection has the request sent anew.
    if (!answering_ && !adapter_->keeps_body() && transfer_ != nullptr &&
        transfer_->answering()) {
        answering_ = true;
        owner_.on_relay_answering();
    }
}

void Relay::flush(bool last)
{
    if (out_.empty() && !last) {
        return;
    }
    if (!begun_) {
        begin_answer();
    }
    note_answering();
    if (first_byte_ms_ == -1) {
        first_byte_ms_ = context_.loop.now_ms();
    }
    last_write_ms_ = context_.loop.now_ms();
    const std::string_view part =
        std::string_view(out_).substr(written_, kMaxTurn);
    written_ += part.size();
    const bool ends = last && written_ == out_.size();
    if (ends) {
        owner_.on_relay_ending();
    }
    sink_.write(part, ends);
    if (written_ < out_.size()) {
        return;
    }
    out_.clear();
    written_ = 0;
    if (context_.spare_buffers.size() < kSpareBuffers &&
        out_.capacity() >= kUsefulSpare && out_.capacity() <= kMaxSpare) {
        context_.spare_buffers.emplace_back();
        context_.spare_buffers.back().swap(out_);
    } else if (out_.capacity() > kKeptOutput) {
        free_text(out_);
    }
}

void Relay::next_turn()
{
    if (timer_ == nullptr) {
        TimerHandler &handler = *this;
        timer_ = std::make_unique<Timer>(context_.loop, handler);
    }
    timer_->arm(0);
}

void Relay::on_timer(Timer &)
{
    settle();
}

void Relay::fail(const ApiError &error, Cause cause)
{
    while (!out_.empty()) {
        flush(false); // what came is not lost
    }
    over_ = true;
    release();
    if (!begun_) {
        owner_.on_relay_error(error, cause);
        return;
    }
    owner_.on_relay_ending();
    if (adapter_->streaming()) {
        out_.clear();
        adapter_->append_error(error, out_);
        if (!out_.empty()) {
            sink_.write(out_, false);
        }
    }
    sink_.abort();
    owner_.on_relay_end(cause);
}

void Relay::cut(const ApiError &error, Cause cause)
{
    if (at_work_ && !withdraw()) {
        cut_ = {error, cause};
    } else if (!over_) {
        fail(error, cause);
    }
}

void Relay::release()
{
    times_ = times();
    reached_ = reached();
    transfer_.reset();
}

bool Relay::withdraw()
{
    at_work_ = at_work_ && !context_.helper.withdraw(*this);
    return !at_work_;
}

void Relay::cancel()
{
    over_ = true;
    (void)withdraw();
    release();
}

void Relay::on_drained()
{
    settle();
}

// Takes what was held off, if nothing holds it off any more.
void Relay::go_on()
{
    if (paused_ && transfer_ != nullptr && !sink_.congested()) {
        paused_ = false;
        transfer_->resume();
    }
}

int64_t Relay::tick()
{
    const int64_t every = config_.sse_keepalive_ms;
    if (at_work_ && every != 0) {
        return std::min(every, kLookAgainMs);
    }
    if (every == 0 || over_ || !wants_sse_ ||
        (begun_ && !adapter_->streaming())) {
        return -1;
    }
    const int64_t due = last_write_ms_ + every - context_.loop.now_ms();
    if (due > 0) {
        return due;
    }
    last_write_ms_ = context_.loop.now_ms();
    if (queued()) {
        return every; // a comment would commit the 200 that it may not get
    }
    if (!sink_.congested() && out_.empty() && adapter_->at_event_end()) {
        if (!begun_) {
            begin_answer();
        }
        sink_.write(kComment, false);
    }
    return every;
}

bool Relay::transfer_reached() const
{
    return transfer_ != nullptr && transfer_->reached();
}

bool Relay::queued() const
{
    return transfer_ != nullptr && transfer_->times().started_ms == -1;
}

BackendNotes &Relay::notes()
{
    return context_.process.backends[static_cast<size_t>(backend_->kind)];
}

void Relay::note_failure(const std::string &why)
{
    log_warning("backend %s: %s", backend_->name, why.c_str());
    notes().failed(why, context_.process.clock.wall_ms());
}

TransferTimes Relay::times() const
{
    return transfer_ != nullptr && !end_ ? transfer_->times() : times_;
}

} // namespace llmproxy
