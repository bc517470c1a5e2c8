#ifndef LLM_PROXY_SRC_PROXY_EXCHANGE_ERRORS_H
#define LLM_PROXY_SRC_PROXY_EXCHANGE_ERRORS_H

#include "llm_proxy/http/api_error.h"
#include "llm_proxy/http/header_lint.h"
#include "llm_proxy/http/message.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace llmproxy
{

constexpr std::string_view kJson = "application/json";

// An error with the table's text, or one that says more.
inline ApiError make_error(ApiErrorKind kind,
                           std::string message = std::string())
{
    ApiError error;
    error.kind = kind;
    error.message = std::move(message);
    return error;
}

inline ApiError model_not_found(std::string_view model)
{
    constexpr size_t longest = 512;
    ApiError error =
        make_error(ApiErrorKind::ModelNotFound,
                   "The model '" + std::string(model.substr(0, longest)) +
                       "' does not exist.");
    error.param = "model";
    return error;
}

inline ApiError too_large_error(uint64_t limit)
{
    return make_error(ApiErrorKind::RequestTooLarge,
                      "The request body is larger than " +
                          std::to_string(limit) + " bytes.");
}

inline ApiError fault_error(const HttpFault &fault)
{
    ApiError error;
    error.message = fault.message;
    switch (fault.status) {
    case 408:
        error.kind = ApiErrorKind::RequestTimeout;
        break;
    case 414:
        error.kind = ApiErrorKind::UriTooLong;
        break;
    case 431:
        error.kind = ApiErrorKind::HeadersTooLarge;
        break;
    case 501:
        error.kind = ApiErrorKind::UnsupportedTransferCoding;
        break;
    case 505:
        error.kind = ApiErrorKind::HttpVersion;
        break;
    default:
        error.kind = ApiErrorKind::BadHttp;
        break;
    }
    return error;
}

// The header lines that belong to an error.
inline void append_error_fields(const ApiError &error, FieldBlock &out)
{
    const int retry_after = api_error_retry_after(error);
    if (retry_after > 0) {
        out.add("Retry-After", static_cast<uint64_t>(retry_after));
    }
    if (error.no_retry) {
        out.add("x-should-retry", "false");
    }
    if (!error.allow.empty()) {
        out.add("Allow", error.allow);
    }
    const char *challenge = api_error_challenge(error.kind);
    if (challenge != nullptr) {
        out.add("WWW-Authenticate", challenge);
    }
}

} // namespace llmproxy

#endif
