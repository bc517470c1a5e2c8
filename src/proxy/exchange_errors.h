#ifndef LLM_PROXY_SRC_PROXY_EXCHANGE_ERRORS_H
#define LLM_PROXY_SRC_PROXY_EXCHANGE_ERRORS_H

#include "llm_proxy/http/api_error.h"

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

} // namespace llmproxy

#endif
