// What is asked of a request before it costs anything, each check with the
// error that it ends in.
#include "llm_proxy/base/strings.h"
#include "llm_proxy/proxy/exchange.h"
#include "llm_proxy/proxy/trust.h"

#include "exchange_errors.h"

namespace llmproxy
{

namespace
{

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
                             " is not allowed for " +
                             std::string(endpoint_->path) + "; use " +
                             allowed_methods(*endpoint_) + ".");
        err.allow = allowed_methods(*endpoint_);
        return false;
    }
    return true;
}

bool Exchange::check_token(ApiError &err)
{
    if (endpoint_ != nullptr && (endpoint_->kind == EndpointKind::Healthz ||
                                 endpoint_->kind == EndpointKind::Readyz)) {
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

} // namespace llmproxy
