// One exchange: the checks in their order, the limit, the hand-over to the
// relay, and the one way out, finish().
#include "llm_proxy/proxy/exchange.h"

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/ids.h"
#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/limit/headers.h"
#include "llm_proxy/proxy/trust.h"

#include <algorithm>
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

// RFC 6750: the scheme in any case, spaces, one b64token.
bool bearer_token(std::string_view value, std::string_view &token)
{
    constexpr std::string_view scheme = "Bearer ";
    if (value.size() <= scheme.size() ||
        !iequals(value.substr(0, scheme.size()), scheme)) {
        return false;
    }
    value.remove_prefix(scheme.size());
    while (!value.empty() && value.front() == ' ') {
        value.remove_prefix(1);
    }
    token = value;
    return !value.empty();
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
}

void Exchange::on_head(const RequestHead &head)
{
    head_ = &head;
    choose_request_id();
    ApiError err;
    if (!check_endpoint(err)) {
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

// So that a growing body is not copied. Many that only announce one get none.
void Exchange::reserve_body(size_t bytes)
{
    if (context_.process.reserved.try_take(bytes)) {
        body_reserved_ = bytes;
        body_.reserve(bytes);
    }
}

bool Exchange::check_endpoint(ApiError &err)
{
    if (head_->method == Method::Options && head_->path == "*") {
        return true;
    }
    endpoint_ = find_endpoint(head_->path, *config_);
    if (endpoint_ != nullptr && endpoint_->kind == EndpointKind::Authz &&
        !is_admin_peer(*config_, sink_.peer(), *head_)) {
        endpoint_ = nullptr;
    }
    if (endpoint_ == nullptr) {
        err = make_error(
            ApiErrorKind::UnknownUrl,
            unknown_url_message(head_->method, head_->path, *config_));
        return false;
    }
    if (head_->method != Method::Options &&
        !method_allowed(*endpoint_, head_->method)) {
        err = make_error(ApiErrorKind::MethodNotSupported,
                         std::string(method_name(head_->method)) +
                             " is not allowed for " + endpoint_->path +
                             "; use " + allowed_methods(*endpoint_) + ".");
        err.allow = allowed_methods(*endpoint_);
        return false;
    }
    return true;
}

bool Exchange::check_token(ApiError &err)
{
    if (endpoint_->kind == EndpointKind::Healthz ||
        endpoint_->kind == EndpointKind::Readyz) {
        return true;
    }
    const std::string_view *value = find_field(head_->fields, "Authorization");
    std::string_view token;
    if (value == nullptr || !bearer_token(*value, token)) {
        err = make_error(ApiErrorKind::MissingApiKey);
        return false;
    }
    const Principal *principal = config_->tokens.find(token);
    if (principal == nullptr) {
        err = make_error(ApiErrorKind::InvalidApiKey);
        return false;
    }
    if (principal->expires_s != 0 &&
        principal->expires_s <= context_.process.clock.wall_ms() / 1000) {
        err = make_error(ApiErrorKind::TokenExpired);
        return false;
    }
    if (principal->disabled) {
        err = make_error(ApiErrorKind::TokenDisabled);
        return false;
    }
    principal_ = principal;
    return true;
}

bool Exchange::check_body_headers(ApiError &err)
{
    const std::string_view *expect = find_field(head_->fields, "Expect");
    if (expect != nullptr && head_->minor_version > 0 &&
        !head_->expect_continue) {
        err = make_error(ApiErrorKind::ExpectationFailed);
        return false;
    }
    if (head_->has_length && head_->content_length > config_->max_body_bytes) {
        err = too_large_error(config_->max_body_bytes);
        return false;
    }
    if (endpoint_->kind != EndpointKind::Relay) {
        return true;
    }
    const std::string_view *coding =
        find_field(head_->fields, "Content-Encoding");
    if (coding != nullptr && !iequals(*coding, "identity")) {
        err = make_error(ApiErrorKind::UnsupportedEncoding);
        return false;
    }
    const std::string_view *type = find_field(head_->fields, "Content-Type");
    if (type != nullptr &&
        !iequals(trim(type->substr(0, type->find(';'))), kJson)) {
        err = make_error(ApiErrorKind::UnsupportedMediaType);
        return false;
    }
    return true;
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
    if (accept_receipt()) {
        // The headers are those that the question was answered with.
        limits_shown_ = true;
        dispatch();
        return;
    }
    const std::optional<LimitVerdict> verdict =
        context_.limiter.admit(*principal_, id_, *this);
    if (verdict) {
        admitted(*verdict);
    }
}

bool Exchange::check_json(ApiError &err)
{
    if (!json_ok_ || !scanner_.finish()) {
        const json::ScanError &fault = scanner_.error();
        err =
            make_error(ApiErrorKind::InvalidJson,
                       "The request body is not valid JSON: " + fault.message +
                           " (line " + std::to_string(fault.line) +
                           ", column " + std::to_string(fault.column) + ").");
        return false;
    }
    const json::BodyFacts &facts = scanner_.facts();
    if (facts.model_kind == json::MemberKind::Absent ||
        facts.model_kind == json::MemberKind::Null) {
        err = make_error(ApiErrorKind::MissingModel);
        err.param = "model";
        return false;
    }
    if (facts.model_kind != json::MemberKind::String) {
        err =
            make_error(ApiErrorKind::InvalidType, "'model' must be a string.");
        err.param = "model";
        return false;
    }
    if (facts.stream_kind != json::MemberKind::Absent &&
        facts.stream_kind != json::MemberKind::Null &&
        facts.stream_kind != json::MemberKind::Bool) {
        err = make_error(ApiErrorKind::InvalidType,
                         "'stream' must be a boolean.");
        err.param = "stream";
        return false;
    }
    return true;
}

bool Exchange::find_route(ApiError &err)
{
    Error why;
    const std::string_view sent = scanner_.facts().model_text;
    if (!route_model(*config_, sent, route_, why)) {
        err = make_error(ApiErrorKind::InvalidValue, why.message);
        err.param = "model";
        return false;
    }
    if (!may_use_model(sent, err)) {
        return false;
    }
    if (route_.backend->kind == BackendKind::Ollama &&
        endpoint_->ollama == nullptr) {
        err = make_error(ApiErrorKind::NotImplemented,
                         std::string(endpoint_->path) +
                             " is not available for the ollama backend.");
        return false;
    }
    return true;
}

// Of route_.
bool Exchange::may_use_model(std::string_view sent, ApiError &err) const
{
    const BackendKind kind = route_.backend->kind;
    if (!may_use(*config_, *principal_, kind, route_.model)) {
        err = model_not_found(sent);
        return false;
    }
    if (is_forbidden_cloud(*config_, kind, route_.model)) {
        err = make_error(ApiErrorKind::CloudModel,
                         "The model '" + std::string(sent) +
                             "' runs in Ollama's cloud, which is not allowed "
                             "here (OLLAMA_ALLOW_CLOUD).");
        return false;
    }
    return true;
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
    append_limit_headers(verdict, config_->rate_limit_fields, fields_);
    limits_shown_ = true;
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
