#ifndef LLM_PROXY_HTTP_API_ERROR_H
#define LLM_PROXY_HTTP_API_ERROR_H

#include <string>
#include <string_view>

namespace llmproxy
{

// Everything that can go wrong as a client sees it. The table in
// api_error.cc gives each its status, type, code and text; nothing else in
// the program names a status for a failure.
enum class ApiErrorKind {
    MissingApiKey,
    InvalidApiKey,
    TokenDisabled,
    TokenExpired,
    UnknownUrl,
    MethodNotSupported,
    ModelNotFound,
    CloudModel, // 403: prompts would leave the site
    MissingModel,
    InvalidJson,
    InvalidRequest, // code null: what a backend's 400 becomes
    MissingParameter,
    InvalidType,
    InvalidValue,
    UnsupportedParameter,
    UnsupportedModel,
    NotImplemented, // 501 server_error, code not_implemented
    ContextLengthExceeded,
    RequestTooLarge,
    UnsupportedMediaType,
    UnsupportedEncoding,       // Content-Encoding of a request body: 415
    BadHttp,                   // 400 malformed_http, closes
    UnsupportedTransferCoding, // 501, closes
    HttpVersion,               // 505, closes
    UriTooLong,                // 414, closes
    HeadersTooLarge,           // 431, closes
    ExpectationFailed,         // 417
    RequestTimeout,            // 408, closes
    RateLimitMinute,
    RateLimitDay,
    ConcurrencyLimit,
    LimiterUnavailable,
    BackendRateLimited,
    BackendUnreachable,
    BackendTimeout,
    BackendBusy,
    BackendBadResponse,
    BackendAuth,
    BackendError,  // 502
    BackendFailed, // 500: the backend's own 500
    Overloaded,    // 503 of ours: buffers or connections used up
    ShuttingDown,
    Internal,
};

// One failure on its way to a client. Texts never hold a token, a prompt or
// a host name of the site.
struct ApiError {
    ApiErrorKind kind = ApiErrorKind::Internal;
    std::string message;   // empty: the table's text
    std::string param;     // JSON path; empty: the table's, mostly null
    int status = 0;        // a backend's own status to keep; 0 = the table's
    int retry_after_s = 0; // Retry-After; 0 = none
    bool no_retry = false; // x-should-retry: false, it would fail again
    std::string allow;     // 405: value of Allow
};

int api_error_status(const ApiError &error);
// Retry-After in seconds after the table's default is applied, which it is not
// where no retry helps; 0 = none.
int api_error_retry_after(const ApiError &error);
const char *api_error_code(const ApiError &error); // nullptr = null
bool api_error_closes(ApiErrorKind kind);
// WWW-Authenticate that goes with it; nullptr = none.
const char *api_error_challenge(ApiErrorKind kind);
// {"error":{"message":...,"type":...,"param":...,"code":...}}
std::string api_error_body(const ApiError &error);
// data: <body>\n\n
std::string api_error_event(const ApiError &error);

} // namespace llmproxy

#endif
