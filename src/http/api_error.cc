// The one table of failures: what each looks like to a client.
#include "llm_proxy/http/api_error.h"

#include "llm_proxy/json/writer.h"

namespace llmproxy
{

namespace
{

constexpr char kInvalid[] = "invalid_request_error";
constexpr char kPermission[] = "permission_error";
constexpr char kRequests[] = "requests";
constexpr char kRateLimit[] = "rate_limit_error";
constexpr char kServer[] = "server_error";

constexpr char kNoKey[] = "Bearer realm=\"llm-proxy\"";
constexpr char kBadKey[] =
    "Bearer realm=\"llm-proxy\", error=\"invalid_token\"";

struct Row {
    ApiErrorKind kind;
    int status;
    const char *type;
    const char *code;      // nullptr = null
    const char *param;     // nullptr = null
    int retry_after_s;     // 0 = none
    bool closes;           // what follows on the connection is not readable
    const char *challenge; // WWW-Authenticate; nullptr = none
    const char *message;
};

// In the order of ApiErrorKind.
constexpr Row kRows[] = {
    // clang-format off
    {ApiErrorKind::MissingApiKey, 401, kInvalid, "missing_api_key", nullptr,
     0, false, kNoKey,
     "No API key was given. Send it as 'Authorization: Bearer <token>'."},
    {ApiErrorKind::InvalidApiKey, 401, kInvalid, "invalid_api_key", nullptr,
     0, false, kBadKey, "Incorrect API key provided."},
    {ApiErrorKind::TokenDisabled, 403, kPermission,
     "insufficient_permissions", nullptr, 0, false, nullptr,
     "This API key is disabled."},
    {ApiErrorKind::TokenExpired, 401, kInvalid, "invalid_api_key", nullptr,
     0, false, kBadKey, "This API key has expired."},
    {ApiErrorKind::UnknownUrl, 404, kInvalid, "unknown_url", nullptr,
     0, false, nullptr, "There is nothing at this URL."},
    {ApiErrorKind::MethodNotSupported, 405, kInvalid,
     "method_not_supported", nullptr, 0, false, nullptr,
     "The method is not allowed for this URL."},
    {ApiErrorKind::ModelNotFound, 404, kInvalid, "model_not_found", "model",
     0, false, nullptr, "The model does not exist."},
    {ApiErrorKind::CloudModel, 403, kPermission,
     "insufficient_permissions", "model", 0, false, nullptr,
     "Models that run in Ollama's cloud are not allowed here."},
    {ApiErrorKind::MissingModel, 400, kInvalid,
     "missing_required_parameter", "model", 0, false, nullptr,
     "'model' is missing: name a model, such as \"ollama:llama3.2\"."},
    {ApiErrorKind::InvalidJson, 400, kInvalid, "invalid_json", nullptr,
     0, false, nullptr, "The request body is not valid JSON."},
    {ApiErrorKind::InvalidRequest, 400, kInvalid, nullptr, nullptr,
     0, false, nullptr, "The request is not valid."},
    {ApiErrorKind::MissingParameter, 400, kInvalid,
     "missing_required_parameter", nullptr, 0, false, nullptr,
     "A required parameter is missing."},
    {ApiErrorKind::InvalidType, 400, kInvalid, "invalid_type", nullptr,
     0, false, nullptr, "A parameter has the wrong type."},
    {ApiErrorKind::InvalidValue, 400, kInvalid, "invalid_value", nullptr,
     0, false, nullptr, "A parameter has a value that is not allowed."},
    {ApiErrorKind::UnsupportedParameter, 400, kInvalid,
     "unsupported_parameter", nullptr, 0, false, nullptr,
     "A parameter is not supported by this backend."},
    {ApiErrorKind::UnsupportedModel, 400, kInvalid, "unsupported_model",
     "model", 0, false, nullptr, "The model does not support this request."},
    {ApiErrorKind::NotImplemented, 501, kServer, "not_implemented", nullptr,
     0, false, nullptr,
     "This endpoint is not implemented for this backend."},
    {ApiErrorKind::ContextLengthExceeded, 400, kInvalid,
     "context_length_exceeded", "messages", 0, false, nullptr,
     "The prompt is longer than the model's context."},
    {ApiErrorKind::RequestTooLarge, 413, kInvalid, "request_too_large",
     nullptr, 0, true, nullptr, "The request body is too large."},
    {ApiErrorKind::UnsupportedMediaType, 415, kInvalid,
     "unsupported_media_type", nullptr, 0, false, nullptr,
     "Content-Type must be application/json."},
    {ApiErrorKind::UnsupportedEncoding, 415, kInvalid,
     "unsupported_encoding", nullptr, 0, false, nullptr,
     "Content-Encoding is not supported: send the body uncompressed."},
    {ApiErrorKind::BadHttp, 400, kInvalid, "malformed_http", nullptr,
     0, true, nullptr, "The request is not valid HTTP/1.1."},
    {ApiErrorKind::UnsupportedTransferCoding, 501, kServer,
     "not_implemented", nullptr, 0, true, nullptr,
     "The only transfer coding that is supported is chunked."},
    {ApiErrorKind::HttpVersion, 505, kServer, "unsupported_http_version",
     nullptr, 0, true, nullptr, "Only HTTP/1.1 and HTTP/1.0 are supported."},
    {ApiErrorKind::UriTooLong, 414, kInvalid, "uri_too_long", nullptr,
     0, true, nullptr, "The request target is too long."},
    {ApiErrorKind::HeadersTooLarge, 431, kInvalid, "headers_too_large",
     nullptr, 0, true, nullptr, "The request's header fields are too large."},
    {ApiErrorKind::ExpectationFailed, 417, kInvalid, "expectation_failed",
     nullptr, 0, false, nullptr,
     "The only expectation that is supported is 100-continue."},
    {ApiErrorKind::RequestTimeout, 408, kInvalid, "request_timeout", nullptr,
     0, true, nullptr, "The request did not arrive in time."},
    {ApiErrorKind::RateLimitMinute, 429, kRequests, "rate_limit_exceeded",
     nullptr, 1, false, nullptr,
     "Rate limit of requests per minute reached. Please try again later."},
    {ApiErrorKind::RateLimitDay, 429, kRequests, "rate_limit_exceeded",
     nullptr, 1, false, nullptr,
     "The daily limit of requests is used up; it will reset at 00:00 UTC."},
    {ApiErrorKind::ConcurrencyLimit, 429, kRequests,
     "concurrency_limit_exceeded", nullptr, 1, false, nullptr,
     "Too many requests of this API key at once. Please try again in 1s."},
    {ApiErrorKind::LimiterUnavailable, 503, kServer, "limiter_unavailable",
     nullptr, 1, false, nullptr, "The rate limiter is not available."},
    {ApiErrorKind::BackendRateLimited, 429, kRateLimit,
     "backend_rate_limited", nullptr, 1, false, nullptr,
     "The backend limits requests. Please try again in 1s."},
    {ApiErrorKind::BackendUnreachable, 502, kServer, "backend_unreachable",
     nullptr, 1, false, nullptr, "The backend could not be reached."},
    {ApiErrorKind::BackendTimeout, 504, kServer, "backend_timeout", nullptr,
     0, false, nullptr, "The backend did not answer in time."},
    {ApiErrorKind::BackendBusy, 503, kServer, "backend_busy", nullptr,
     1, false, nullptr, "The backend is busy."},
    {ApiErrorKind::BackendBadResponse, 502, kServer, "backend_bad_response",
     nullptr, 1, false, nullptr,
     "The backend sent a response that cannot be used."},
    {ApiErrorKind::BackendAuth, 502, kServer, "backend_auth", nullptr,
     1, false, nullptr, "The backend rejected the proxy's credentials."},
    {ApiErrorKind::BackendError, 502, kServer, "backend_error", nullptr,
     1, false, nullptr, "The backend failed."},
    {ApiErrorKind::BackendFailed, 500, kServer, "backend_error", nullptr,
     0, false, nullptr, "The backend failed."},
    {ApiErrorKind::Overloaded, 503, kServer, "overloaded", nullptr,
     1, false, nullptr, "The proxy is overloaded."},
    {ApiErrorKind::ShuttingDown, 503, kServer, "shutting_down", nullptr,
     1, false, nullptr, "The proxy is shutting down."},
    {ApiErrorKind::Internal, 500, kServer, "internal_error", nullptr,
     0, false, nullptr, "The proxy failed."},
    // clang-format on
};

constexpr bool in_order()
{
    size_t index = 0;
    for (const Row &row : kRows) {
        if (static_cast<size_t>(row.kind) != index++) {
            return false;
        }
    }
    return index == static_cast<size_t>(ApiErrorKind::Internal) + 1;
}
static_assert(in_order(), "one row for each ApiErrorKind, in its order");

const Row &row_of(ApiErrorKind kind)
{
    return kRows[static_cast<size_t>(kind)];
}

void append_or_null(std::string &out, const char *text)
{
    if (text == nullptr) {
        out += "null";
        return;
    }
    json::append_string(out, text);
}

} // namespace

int api_error_status(const ApiError &error)
{
    return error.status != 0 ? error.status : row_of(error.kind).status;
}

int api_error_retry_after(const ApiError &error)
{
    return error.retry_after_s != 0 || error.no_retry
               ? error.retry_after_s
               : row_of(error.kind).retry_after_s;
}

const char *api_error_code(const ApiError &error)
{
    return row_of(error.kind).code;
}

bool api_error_closes(ApiErrorKind kind)
{
    return row_of(kind).closes;
}

const char *api_error_challenge(ApiErrorKind kind)
{
    return row_of(kind).challenge;
}

std::string api_error_body(const ApiError &error)
{
    const Row &row = row_of(error.kind);
    std::string out = "{\"error\":{\"message\":";
    json::append_string(out, error.message.empty()
                                 ? std::string_view(row.message)
                                 : std::string_view(error.message));
    out += ",\"type\":";
    append_or_null(out, row.type);
    out += ",\"param\":";
    append_or_null(out, error.param.empty() ? row.param : error.param.c_str());
    out += ",\"code\":";
    append_or_null(out, row.code);
    out += "}}";
    return out;
}

std::string api_error_event(const ApiError &error)
{
    return "data: " + api_error_body(error) + "\n\n";
}

} // namespace llmproxy
