// One exchange: its course from the head over the limit to the relay.
#include "llm_proxy/proxy/exchange.h"

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/ids.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/limit/headers.h"

#include <utility>

#include "cors.h"
#include "exchange_errors.h"

namespace llmproxy
{

namespace
{

constexpr size_t kMaxRequestId = 128;

bool sane_request_id(std::string_view id)
{
    if (id.empty() || id.size() > kMaxRequestId) {
        return false;
    }
    for (const char c : id) {
        const bool ok =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            (c >= '0' && c <= '9') ||
            std::string_view("-._:+=@").find(c) != std::string_view::npos;
        if (!ok) {
            return false;
        }
    }
    return true;
}

} // namespace

Exchange::Exchange(WorkerContext &context, ResponseSink &sink)
    : context_(context), sink_(sink), config_(context.config),
      id_(++context.last_exchange_id), started_ms_(context.loop.now_ms()),
      sent_before_(sink.bytes_sent())
{
}

Exchange::~Exchange()
{
    drop_body();
}

void Exchange::choose_request_id()
{
    const std::string_view *given =
        head_ == nullptr ? nullptr : find_field(head_->fields, "X-Request-Id");
    if (given != nullptr && sane_request_id(*given)) {
        request_id_ = *given;
    } else {
        request_id_ = "req_";
        append_random_hex(request_id_, 24);
    }
    begin_fields();
}

void Exchange::begin_fields()
{
    fields_.clear();
    fields_.add("X-Request-Id", request_id_);
    if (head_ != nullptr) {
        append_cors_fields(*config_, *head_, fields_);
    }
    add_label();
    add_backend();
}

void Exchange::on_head(const RequestHead &head)
{
    head_ = &head;
    choose_request_id();
    ApiError err;
    if (!check_endpoint(err)) {
        if (endpoint_ != nullptr && endpoint_->charged) {
            // The method is wrong. A known client is told its limits with it.
            ApiError unknown;
            check_token(unknown);
        }
        refuse(err, Cause::ClientError);
        return;
    }
    if (endpoint_ != nullptr && endpoint_->kind == EndpointKind::Authz) {
        authorize();
        return;
    }
    if (head.method == Method::Options) {
        answer_options();
        return;
    }
    if (!check_token(err)) {
        refuse(err, Cause::Denied);
        return;
    }
    add_label();
    if (!check_body_headers(err)) {
        refuse(err, Cause::ClientError);
        return;
    }
    if (endpoint_->kind == EndpointKind::Relay && head.has_length) {
        reserve_body(head.content_length);
    }
    if (head.expect_continue) {
        sink_.send_continue();
    }
}

void Exchange::turn_away(const RequestHead &head)
{
    head_ = &head;
    on_fault(make_error(ApiErrorKind::Overloaded), Cause::Overloaded);
}

// So that a growing body is not copied. Many that only announce one get none.
void Exchange::reserve_body(size_t bytes)
{
    if (context_.process.reserved.try_take(bytes)) {
        body_reserved_ = bytes;
        body_.reserve(bytes);
    }
}

void Exchange::on_body(std::string_view bytes)
{
    bytes_in_ += bytes.size();
    if (endpoint_->kind != EndpointKind::Relay) {
        return; // a body that means nothing
    }
    if (!context_.process.buffered.try_take(bytes.size())) {
        refuse(make_error(ApiErrorKind::Overloaded), Cause::Overloaded);
        return;
    }
    body_charged_ += bytes.size();
    body_.append(bytes);
    // Scanned as it comes, so that no turn of the loop sees all of it.
    json_ok_ = json_ok_ && scanner_.feed(bytes);
}

void Exchange::on_body_complete()
{
    switch (endpoint_->kind) {
    case EndpointKind::Healthz:
        answer(200, kJson, "{\"status\":\"ok\"}\n", Cause::Done);
        return;
    case EndpointKind::Readyz:
        if (context_.process.draining.load(std::memory_order_relaxed)) {
            answer(503, kJson, "{\"status\":\"draining\"}\n", Cause::Done);
        } else {
            answer(200, kJson, "{\"status\":\"ready\"}\n", Cause::Done);
        }
        return;
    case EndpointKind::Models:
        context_.catalog.get(id_, config_, *this);
        return;
    case EndpointKind::ModelDetail:
        ask_for_model();
        return;
    case EndpointKind::Authz:
        return; // it waits for the limiter
    case EndpointKind::Relay:
        break;
    }
    ApiError err;
    if (!check_json(err) || !find_route(err)) {
        refuse(err, Cause::ClientError);
        return;
    }
    if (!endpoint_->charged) {
        dispatch();
        return;
    }
    slot_ = ConcurrencySlot(context_.process.limits, *principal_);
    if (!slot_.held()) {
        refuse(make_error(ApiErrorKind::ConcurrencyLimit), Cause::Denied);
        return;
    }
    limit_asked_ms_ = context_.loop.now_ms();
    const std::optional<LimitVerdict> verdict = ask_limiter();
    if (verdict) {
        admitted(*verdict);
    }
}

void Exchange::on_limit_verdict(uint64_t, const LimitVerdict &verdict)
{
    if (over_) {
        return;
    }
    if (endpoint_->kind == EndpointKind::Authz) {
        authorized(verdict);
    } else {
        admitted(verdict);
    }
}

void Exchange::admitted(const LimitVerdict &verdict)
{
    limit_ms_ = context_.loop.now_ms() - limit_asked_ms_;
    limits_shown_ = true;
    if (verdict.outcome == LimitVerdict::Outcome::Charged) {
        // The headers are those that the question was answered with.
        ticket_ = LimitTicket(context_.limiter, *principal_, verdict.stamp);
        dispatch();
        return;
    }
    if (receipt_shown_ &&
        verdict.outcome != LimitVerdict::Outcome::Unavailable) {
        refuse_receipt(ReceiptFault::Used);
    }
    append_limit_headers(verdict, config_->rate_limit_fields, fields_);
    if (verdict.outcome != LimitVerdict::Outcome::Admitted) {
        const ApiError error = limit_error(verdict, principal_->label, fields_);
        refuse(error, Cause::Denied);
        return;
    }
    ticket_ = LimitTicket(context_.limiter, *principal_, verdict.stamp);
    dispatch();
}

void Exchange::dispatch()
{
    add_backend();
    if (may_redirect()) {
        redirect();
        return;
    }
    std::unique_ptr<Adapter> adapter =
        route_.backend->kind == BackendKind::Ollama
            ? endpoint_->ollama()
            : make_passthrough(endpoint_->path, endpoint_->mark);
    RelayOwner &owner = *this;
    relay_ = std::make_unique<Relay>(context_, sink_, owner, std::move(adapter),
                                     *config_, fields_);
    const ClientRequest request = {
        body_,
        scanner_.facts(),
        scanner_.facts().model_text,
        route_.model,
        route_.removed_front,
        request_id_,
        head_->fields,
        *config_,
        *route_.backend,
        context_.process.clock.wall_ms() / 1000,
    };
    ApiError err;
    if (!relay_->start(request, err)) {
        refuse(err, Cause::ClientError);
    }
}

void Exchange::on_relay_answering()
{
    drop_body();
}

void Exchange::on_relay_ending()
{
    slot_.give_back();
}

void Exchange::on_relay_error(const ApiError &error, Cause cause)
{
    refuse(error, cause);
}

void Exchange::on_relay_end(Cause cause)
{
    status_ = relay_->answer_status();
    finish(cause);
}

void Exchange::on_catalog()
{
    if (endpoint_->kind == EndpointKind::Models) {
        answer_models();
    } else {
        answer_listed_model();
    }
}

void Exchange::on_fault(const ApiError &error, Cause cause)
{
    if (request_id_.empty()) {
        choose_request_id();
    }
    refuse(error, cause);
}

void Exchange::on_drained()
{
    if (relay_ != nullptr) {
        relay_->on_drained();
    }
}

void Exchange::on_client_gone()
{
    if (!over_) {
        status_ = status_ == 0 ? 499 : status_;
        finish(Cause::ClientGone);
    }
}

int64_t Exchange::tick()
{
    return relay_ == nullptr ? -1 : relay_->tick();
}

void Exchange::cut(const ApiError &error, Cause cause)
{
    if (relay_ != nullptr) {
        relay_->cut(error, cause);
    } else {
        on_fault(error, cause);
    }
}

bool Exchange::at_rest() const
{
    return relay_ == nullptr || relay_->at_rest();
}

void Exchange::drop_body()
{
    context_.process.buffered.give(body_charged_);
    context_.process.reserved.give(body_reserved_);
    body_charged_ = 0;
    body_reserved_ = 0;
    free_text(body_);
}

} // namespace llmproxy
