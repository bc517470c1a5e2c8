// What an exchange has to do with a web server in front that asks first:
// answering its question, and believing that it has asked.
#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/http/header_lint.h"
#include "llm_proxy/limit/headers.h"
#include "llm_proxy/limit/receipt.h"
#include "llm_proxy/proxy/exchange.h"
#include "llm_proxy/proxy/trust.h"

#include <string>

#include "exchange_errors.h"

namespace llmproxy
{

namespace
{

constexpr int kUnauthorized = 401;
constexpr int kForbidden = 403;

// A backend's name in answers that stands for the daemon itself.
constexpr std::string_view kByProxy = "proxy";
// Receipt::counter of units that are counted for all daemons.
constexpr std::string_view kSharedCounter = "redis";

std::string_view field_or_empty(const RequestHead &head, std::string_view name)
{
    const std::string_view *value = find_field(head.fields, name);
    return value == nullptr ? std::string_view() : *value;
}

// What the web server was asked for.
struct Original {
    std::string_view uri;               // empty: the question does not say
    const Endpoint *endpoint = nullptr; // if it is one of ours
    bool takes_method = true;
};

Original original_request(const RequestHead &head, const Config &config)
{
    Original original;
    const std::string_view method = field_or_empty(head, "X-Original-Method");
    original.uri = field_or_empty(head, "X-Original-URI");
    original.endpoint =
        find_endpoint(original.uri.substr(0, original.uri.find('?')), config);
    if (original.endpoint != nullptr && !method.empty()) {
        original.takes_method =
            method != "OPTIONS" &&
            list_contains(allowed_methods(*original.endpoint), method);
    }
    return original;
}

bool is_charged(const Original &original)
{
    return original.uri.empty() ||
           (original.endpoint != nullptr && original.endpoint->charged &&
            original.takes_method);
}

// Nothing is left for the daemon to do: the answer is a backend's, and there
// is neither a list to hold the request's model against nor a count of what
// runs.
bool may_bypass(const Original &original, const Principal &principal)
{
    const bool relayed = original.endpoint != nullptr &&
                         original.endpoint->kind == EndpointKind::Relay &&
                         original.takes_method;
    return (relayed || original.uri.empty()) && principal.models.empty() &&
           principal.concurrency == 0;
}

// What the daemon's own parser would refuse later, when it is charged.
bool check_original(const Original &original, ApiError &err)
{
    HttpFault fault;
    if (original.uri.empty() ||
        lint_target(original.uri, LintLimits(), fault)) {
        return true;
    }
    err = fault_error(fault);
    return false;
}

bool is_plain_mode(const RequestHead &head)
{
    return head.query == "mode=plain" || starts_with(head.query, "mode=plain&");
}

} // namespace

std::string_view Exchange::receipt_secret() const
{
    return config_->receipt_secret.empty()
               ? std::string_view(context_.process.receipt_secret)
               : std::string_view(config_->receipt_secret);
}

void Exchange::authorize()
{
    ApiError err;
    const Original original = original_request(*head_, *config_);
    if (!check_token(err) || !check_original(original, err) ||
        !find_authz_backend(original.endpoint, err)) {
        refuse_authz(err);
        return;
    }
    may_bypass_ = may_bypass(original, *principal_);
    if (!is_charged(original)) {
        allow();
        return;
    }
    limit_asked_ms_ = context_.loop.now_ms();
    const std::optional<ReceiptBook::Answer> before =
        context_.process.receipts.repeat(request_id_, principal_->digest,
                                         context_.process.clock.mono_ms());
    if (before) {
        let_pass(before->verdict, before->issued_s);
        return;
    }
    const std::optional<LimitVerdict> verdict =
        context_.limiter.admit(*principal_, id_, *this);
    if (verdict) {
        authorized(*verdict);
    }
}

// The body, and the model in it, has not been read when a web server asks. It
// may name either; what only one backend serves needs no name.
bool Exchange::find_authz_backend(const Endpoint *asked, ApiError &err)
{
    const std::string_view model = field_or_empty(*head_, "X-Model");
    const std::string_view name = field_or_empty(*head_, "X-Proxy-Backend");
    Error why;
    if (!model.empty()) {
        if (!route_model(*config_, model, route_, why)) {
            err = make_error(ApiErrorKind::InvalidValue, why.message);
            return false;
        }
        if (!may_use(*config_, *principal_, route_.backend->kind,
                     route_.model)) {
            err = model_not_found(model);
            return false;
        }
        return true;
    }
    BackendKind kind = config_->default_backend;
    if (asked != nullptr && asked->kind == EndpointKind::Relay &&
        asked->ollama == nullptr) {
        kind = BackendKind::Vllm;
    }
    route_.backend = &config_->backends[static_cast<size_t>(kind)];
    for (const BackendConfig &backend : config_->backends) {
        if (name == backend.name) {
            route_.backend = &backend;
        }
    }
    return true;
}

void Exchange::authorized(const LimitVerdict &verdict)
{
    limit_ms_ = context_.loop.now_ms() - limit_asked_ms_;
    if (verdict.outcome != LimitVerdict::Outcome::Admitted) {
        append_limit_headers(verdict, config_->rate_limit_fields, fields_);
        refuse_authz(limit_error(verdict, principal_->label, fields_));
        return;
    }
    const int64_t now_s = context_.process.clock.wall_ms() / 1000;
    context_.process.receipts.note(request_id_, principal_->digest,
                                   {verdict, now_s},
                                   context_.process.clock.mono_ms());
    let_pass(verdict, now_s);
}

void Exchange::let_pass(const LimitVerdict &verdict, int64_t issued_s)
{
    append_limit_headers(verdict, config_->rate_limit_fields, fields_);
    fields_.add("X-RateLimit-Checked",
                make_receipt(receipt_secret(), principal_->digest,
                             new_receipt(verdict, issued_s)));
    allow();
}

// Windows of Redis are the same for every daemon; others are those of this
// process.
Receipt Exchange::new_receipt(const LimitVerdict &verdict,
                              int64_t issued_s) const
{
    Receipt receipt;
    receipt.issued_s = issued_s;
    receipt.request_id = request_id_;
    receipt.stamp = verdict.stamp;
    switch (verdict.stamp.source) {
    case LimitStamp::Source::Store:
        receipt.counter = config_->limit_store == LimitStore::Redis
                              ? std::string(kSharedCounter)
                              : context_.process.receipt_counter;
        break;
    case LimitStamp::Source::StandIn:
        receipt.counter = context_.process.receipt_counter;
        break;
    case LimitStamp::Source::Nobody:
        break;
    }
    return receipt;
}

void Exchange::allow()
{
    fields_.add("X-Proxy-Backend", may_bypass_
                                       ? std::string_view(route_.backend->name)
                                       : kByProxy);
    fields_.add("X-Proxy-Label", principal_->label);
    answer_authz(200, Cause::Done);
}

// auth_request of nginx knows 401 and 403 only; anything else it makes a 500.
void Exchange::refuse_authz(const ApiError &error)
{
    const int status = api_error_status(error);
    append_error_fields(error, fields_);
    fields_.add("X-Proxy-Error", api_error_body(error));
    if (is_plain_mode(*head_)) {
        answer_authz(status, Cause::Denied);
        return;
    }
    if (principal_ != nullptr) {
        fields_.add("X-Proxy-Label", principal_->label);
    }
    fields_.add("X-Proxy-Status", static_cast<uint64_t>(status));
    answer_authz(status == kUnauthorized ? kUnauthorized : kForbidden,
                 Cause::Denied);
}

void Exchange::answer_authz(int status, Cause cause)
{
    status_ = status;
    AnswerHead head;
    head.status = status;
    head.fields = &fields_;
    const bool has_body = head_->chunked || head_->content_length > 0;
    send(head, "", has_body, cause);
}

std::optional<LimitVerdict> Exchange::ask_limiter()
{
    receipt_read_ = true;
    const std::string_view given =
        field_or_empty(*head_, "X-RateLimit-Checked");
    if (given == "1" && config_->trust_plain_checked &&
        is_trusted_proxy(*config_, sink_.peer())) {
        LimitStamp stamp;
        stamp.source = LimitStamp::Source::Nobody;
        return charged_verdict(stamp);
    }
    const std::optional<Receipt> receipt = good_receipt(given);
    receipt_shown_ = receipt.has_value();
    return receipt_shown_
               ? context_.limiter.redeem(*principal_, receipt->request_id,
                                         receipt->stamp, id_, *this)
               : context_.limiter.admit(*principal_, id_, *this);
}

void Exchange::return_receipt()
{
    if (receipt_read_ || head_ == nullptr ||
        (endpoint_ != nullptr && !endpoint_->charged)) {
        return;
    }
    receipt_read_ = true;
    const std::string_view given =
        field_or_empty(*head_, "X-RateLimit-Checked");
    ApiError unknown;
    if (given.empty() || (principal_ == nullptr && !check_token(unknown))) {
        return;
    }
    const std::optional<Receipt> receipt = good_receipt(given);
    if (receipt) {
        context_.limiter.return_receipt(*principal_, receipt->request_id,
                                        receipt->stamp);
    }
}

std::optional<Receipt> Exchange::good_receipt(std::string_view given)
{
    if (given.empty() || given == "1") {
        return std::nullopt;
    }
    Receipt receipt;
    ReceiptFault fault =
        check_receipt(receipt_secret(), principal_->digest,
                      context_.process.clock.wall_ms() / 1000, given, receipt);
    if (fault == ReceiptFault::None) {
        fault = context_.process.receipts.use(receipt,
                                              context_.process.clock.mono_ms());
    }
    if (fault != ReceiptFault::None) {
        refuse_receipt(fault);
        return std::nullopt;
    }
    const bool redis = config_->limit_store == LimitStore::Redis;
    receipt.stamp.source = LimitStamp::Source::Nobody;
    if (redis && receipt.counter == kSharedCounter) {
        receipt.stamp.source = LimitStamp::Source::Store;
    } else if (receipt.counter == context_.process.receipt_counter) {
        receipt.stamp.source =
            redis ? LimitStamp::Source::StandIn : LimitStamp::Source::Store;
    }
    return receipt;
}

void Exchange::refuse_receipt(ReceiptFault fault) const
{
    log_info("receipt of %s refused: %s", principal_->label.c_str(),
             receipt_fault_name(fault));
}

} // namespace llmproxy
