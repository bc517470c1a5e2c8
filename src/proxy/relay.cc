// Relays one request and its answer between the client's sink and a backend's
// transfer. Policy of failures and keep-alive comments lives here; bytes are
// the adapter's business, framing the connection's.
#include "llm_proxy/proxy/relay.h"

#include "llm_proxy/base/log.h"

#include <utility>

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

} // namespace

Relay::Relay(WorkerContext &context, ResponseSink &sink, RelayOwner &owner,
             std::unique_ptr<Adapter> adapter, const Config &config,
             const FieldBlock &fields)
    : context_(context), sink_(sink), owner_(owner),
      adapter_(std::move(adapter)), config_(config), fields_(fields)
{
}

Relay::~Relay() = default;

bool Relay::start(const ClientRequest &request, ApiError &err)
{
    UpstreamRequest upstream;
    if (!adapter_->start(request, upstream, err)) {
        return false;
    }
    backend_ = &request.backend;
    wants_sse_ = adapter_->streaming();
    last_write_ms_ = context_.loop.now_ms();
    TransferOptions options;
    options.connect_timeout_ms = config_.connect_timeout_ms;
    options.first_byte_timeout_ms = config_.first_byte_timeout_ms;
    options.idle_timeout_ms = config_.stream_idle_timeout_ms;
    options.queue_timeout_ms = config_.queue_timeout_ms;
    transfer_ = context_.pool.submit(request.backend, std::move(upstream),
                                     options, *this);
    return true;
}

Take Relay::on_upstream_head(const ReplyHead &head)
{
    status_ = adapter_->reply_head(head);
    return status_ == AdaptStatus::More ? Take::Taken : Take::Abort;
}

Take Relay::on_upstream_data(std::string_view bytes)
{
    if (status_ != AdaptStatus::More) {
        // Bytes behind the end mark are nobody's.
        return status_ == AdaptStatus::Done ? Take::Taken : Take::Abort;
    }
    if (sink_.congested()) {
        paused_ = true;
        return Take::Pause;
    }
    if (out_.capacity() < kUsefulSpare && !context_.spare_buffers.empty()) {
        out_.swap(context_.spare_buffers.back());
        context_.spare_buffers.pop_back();
    }
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
    log_warning("backend %s: %s", backend_->name,
                end.detail.empty() ? "no answer in time" : end.detail.c_str());
    const bool late = end.fault == TransferFault::ConnectTimeout ||
                      end.fault == TransferFault::FirstByteTimeout ||
                      end.fault == TransferFault::IdleTimeout;
    flush(false);
    fail(transfer_error(end), late ? Cause::Timeout : Cause::BackendError);
}

void Relay::settle()
{
    if (over_) {
        return;
    }
    flush(status_ == AdaptStatus::Done);
    if (status_ == AdaptStatus::Failed) {
        if (backend_ != nullptr) {
            log_warning("backend %s: answer failed: %s", backend_->name,
                        api_error_code(adapter_->error()) == nullptr
                            ? "refused"
                            : api_error_code(adapter_->error()));
        }
        fail(adapter_->error(), Cause::BackendError);
    } else if (status_ == AdaptStatus::Done) {
        over_ = true;
        times_ = transfer_->times();
        reached_ = true;
        UpstreamTransfer::let_finish(std::move(transfer_));
        owner_.on_relay_end(Cause::Done);
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
    if (transfer_ != nullptr && transfer_->request_sent()) {
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
    if (first_byte_ms_ == -1) {
        first_byte_ms_ = context_.loop.now_ms();
    }
    last_write_ms_ = context_.loop.now_ms();
    sink_.write(out_, last);
    out_.clear();
    if (context_.spare_buffers.size() < kSpareBuffers &&
        out_.capacity() >= kUsefulSpare && out_.capacity() <= kMaxSpare) {
        context_.spare_buffers.emplace_back();
        context_.spare_buffers.back().swap(out_);
    } else if (out_.capacity() > kKeptOutput) {
        out_ = std::string();
    }
}

void Relay::fail(const ApiError &error, Cause cause)
{
    over_ = true;
    if (transfer_ != nullptr) {
        times_ = transfer_->times();
        reached_ = reached();
        transfer_.reset();
    }
    if (!begun_) {
        owner_.on_relay_error(error, cause);
        return;
    }
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
    if (!over_) {
        fail(error, cause);
    }
}

void Relay::on_drained()
{
    if (paused_ && transfer_ != nullptr) {
        paused_ = false;
        transfer_->resume();
    }
}

int64_t Relay::tick()
{
    const int64_t every = config_.sse_keepalive_ms;
    if (every == 0 || over_ || !wants_sse_ ||
        (begun_ && !adapter_->streaming())) {
        return -1;
    }
    const int64_t due = last_write_ms_ + every - context_.loop.now_ms();
    if (due > 0) {
        return due;
    }
    last_write_ms_ = context_.loop.now_ms();
    if (!sink_.congested() && adapter_->at_event_end()) {
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

TransferTimes Relay::times() const
{
    return transfer_ != nullptr ? transfer_->times() : times_;
}

ApiError Relay::transfer_error(const TransferEnd &end) const
{
    ApiError error;
    const std::string backend = std::string("The ") + backend_->name;
    switch (end.fault) {
    case TransferFault::QueueFull:
    case TransferFault::QueueTimeout:
        error.kind = ApiErrorKind::BackendBusy;
        error.message = backend + " backend has too many requests waiting.";
        return error;
    case TransferFault::Resolve:
    case TransferFault::Connect:
    case TransferFault::Tls:
        error.kind = ApiErrorKind::BackendUnreachable;
        error.message = backend + " backend could not be reached.";
        return error;
    case TransferFault::ConnectTimeout:
        error.kind = ApiErrorKind::BackendTimeout;
        error.message = backend + " backend did not accept the connection in "
                                  "time.";
        return error;
    case TransferFault::FirstByteTimeout:
        error.kind = ApiErrorKind::BackendTimeout;
        error.message = backend + " backend did not answer in time.";
        return error;
    case TransferFault::IdleTimeout:
        error.kind = ApiErrorKind::BackendTimeout;
        error.message = backend + " backend fell silent in the middle of its "
                                  "answer.";
        return error;
    case TransferFault::Reset:
        error.kind = ApiErrorKind::BackendUnreachable;
        error.message = backend + " backend closed the connection without an "
                                  "answer.";
        return error;
    case TransferFault::Truncated:
        error.kind = ApiErrorKind::BackendError;
        error.message = backend + " backend closed the connection in the "
                                  "middle of its answer.";
        return error;
    case TransferFault::Malformed:
        error.kind = ApiErrorKind::BackendBadResponse;
        error.message = backend + " backend's answer could not be understood.";
        return error;
    case TransferFault::None:
    case TransferFault::Internal:
        break;
    }
    error.kind = ApiErrorKind::Internal;
    return error;
}

} // namespace llmproxy
