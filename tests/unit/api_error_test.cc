// http/api_error: the table of failures as clients see it.

#include "llm_proxy/http/api_error.h"

#include <cstring>

#include <jansson.h>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

ApiError of(ApiErrorKind kind)
{
    ApiError error;
    error.kind = kind;
    return error;
}

} // namespace

static void answers_look_like_openais(void **)
{
    assert_string_equal(
        api_error_body(of(ApiErrorKind::MissingApiKey)).c_str(),
        "{\"error\":{\"message\":\"No API key was given. Send it as "
        "'Authorization: Bearer <token>'.\",\"type\":\"invalid_request_error\","
        "\"param\":null,\"code\":\"missing_api_key\"}}");
    ApiError error = of(ApiErrorKind::InvalidValue);
    error.message = "\"x\"\nis wrong";
    error.param = "messages[0].role";
    assert_string_equal(
        api_error_event(error).c_str(),
        "data: {\"error\":{\"message\":\"\\\"x\\\"\\nis wrong\","
        "\"type\":\"invalid_request_error\",\"param\":\"messages[0].role\","
        "\"code\":\"invalid_value\"}}\n\n");
}

static void has_the_statuses_and_codes_of_the_contract(void **)
{
    static const struct {
        ApiErrorKind kind;
        int status;
        const char *code;
        int retry_after;
        bool closes;
    } table[] = {
        {ApiErrorKind::MissingApiKey, 401, "missing_api_key", 0, false},
        {ApiErrorKind::InvalidApiKey, 401, "invalid_api_key", 0, false},
        {ApiErrorKind::TokenDisabled, 403, "insufficient_permissions", 0,
         false},
        {ApiErrorKind::TokenExpired, 401, "invalid_api_key", 0, false},
        {ApiErrorKind::UnknownUrl, 404, "unknown_url", 0, false},
        {ApiErrorKind::MethodNotSupported, 405, "method_not_supported", 0,
         false},
        {ApiErrorKind::ModelNotFound, 404, "model_not_found", 0, false},
        {ApiErrorKind::CloudModel, 403, "insufficient_permissions", 0, false},
        {ApiErrorKind::MissingModel, 400, "missing_required_parameter", 0,
         false},
        {ApiErrorKind::InvalidJson, 400, "invalid_json", 0, false},
        {ApiErrorKind::InvalidRequest, 400, nullptr, 0, false},
        {ApiErrorKind::UnsupportedModel, 400, "unsupported_model", 0, false},
        {ApiErrorKind::NotImplemented, 501, "not_implemented", 0, false},
        {ApiErrorKind::ContextLengthExceeded, 400, "context_length_exceeded", 0,
         false},
        {ApiErrorKind::RequestTooLarge, 413, "request_too_large", 0, true},
        {ApiErrorKind::UnsupportedMediaType, 415, "unsupported_media_type", 0,
         false},
        {ApiErrorKind::UnsupportedEncoding, 415, "unsupported_encoding", 0,
         false},
        {ApiErrorKind::BadHttp, 400, "malformed_http", 0, true},
        {ApiErrorKind::UnsupportedTransferCoding, 501, "not_implemented", 0,
         true},
        {ApiErrorKind::HttpVersion, 505, "unsupported_http_version", 0, true},
        {ApiErrorKind::UriTooLong, 414, "uri_too_long", 0, true},
        {ApiErrorKind::HeadersTooLarge, 431, "headers_too_large", 0, true},
        {ApiErrorKind::ExpectationFailed, 417, "expectation_failed", 0, false},
        {ApiErrorKind::RequestTimeout, 408, "request_timeout", 0, true},
        {ApiErrorKind::RateLimitMinute, 429, "rate_limit_exceeded", 1, false},
        {ApiErrorKind::RateLimitDay, 429, "rate_limit_exceeded", 1, false},
        {ApiErrorKind::LimiterUnavailable, 503, "limiter_unavailable", 1,
         false},
        {ApiErrorKind::BackendRateLimited, 429, "backend_rate_limited", 1,
         false},
        {ApiErrorKind::BackendUnreachable, 502, "backend_unreachable", 1,
         false},
        {ApiErrorKind::BackendTimeout, 504, "backend_timeout", 0, false},
        {ApiErrorKind::BackendBusy, 503, "backend_busy", 1, false},
        {ApiErrorKind::BackendBadResponse, 502, "backend_bad_response", 1,
         false},
        {ApiErrorKind::BackendAuth, 502, "backend_auth", 1, false},
        {ApiErrorKind::BackendError, 502, "backend_error", 1, false},
        {ApiErrorKind::BackendFailed, 500, "backend_error", 0, false},
        {ApiErrorKind::ShuttingDown, 503, "shutting_down", 1, false},
        {ApiErrorKind::Internal, 500, "internal_error", 0, false},
    };
    for (const auto &row : table) {
        const ApiError error = of(row.kind);
        assert_int_equal(api_error_status(error), row.status);
        assert_int_equal(api_error_retry_after(error), row.retry_after);
        assert_int_equal(api_error_closes(row.kind), row.closes);
        const char *code = api_error_code(error);
        assert_true(code == row.code ||
                    (code != nullptr && row.code != nullptr &&
                     strcmp(code, row.code) == 0));
    }
}

// All four members, texts, and a type that goes with the status.
static void every_kind_is_complete(void **)
{
    const int last = static_cast<int>(ApiErrorKind::Internal);
    for (int i = 0; i <= last; i++) {
        const ApiError error = of(static_cast<ApiErrorKind>(i));
        json_t *body = json_loads(api_error_body(error).c_str(), 0, nullptr);
        assert_non_null(body);
        const json_t *inner = json_object_get(body, "error");
        assert_int_equal(json_object_size(inner), 4);
        assert_true(json_string_length(json_object_get(inner, "message")) > 10);
        const std::string type =
            json_string_value(json_object_get(inner, "type"));
        assert_int_equal(type == "server_error",
                         api_error_status(error) >= 500);
        assert_non_null(json_object_get(inner, "param"));
        assert_non_null(json_object_get(inner, "code"));
        // SDKs take a 429 without Retry-After for "no capacity".
        const int status = api_error_status(error);
        if (status == 429 || status == 503) {
            assert_true(api_error_retry_after(error) >= 1);
        }
        assert_int_equal(api_error_challenge(error.kind) != nullptr,
                         status == 401);
        json_decref(body);
    }
}

static void an_errors_own_values_win(void **)
{
    ApiError error = of(ApiErrorKind::BackendError);
    error.status = 507;
    error.retry_after_s = 9;
    assert_int_equal(api_error_status(error), 507);
    assert_int_equal(api_error_retry_after(error), 9);
    // Where no retry helps, the table's default would ask for one.
    error.no_retry = true;
    assert_int_equal(api_error_retry_after(error), 9);
    error.retry_after_s = 0;
    assert_int_equal(api_error_retry_after(error), 0);
    const ApiError model = of(ApiErrorKind::ModelNotFound);
    assert_non_null(
        strstr(api_error_body(model).c_str(), "\"param\":\"model\""));
}

static void own_limits_differ_from_a_backends(void **)
{
    assert_non_null(
        strstr(api_error_body(of(ApiErrorKind::RateLimitMinute)).c_str(),
               "\"type\":\"requests\""));
    assert_non_null(
        strstr(api_error_body(of(ApiErrorKind::BackendRateLimited)).c_str(),
               "\"type\":\"rate_limit_error\""));
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_look_like_openais),
        cmocka_unit_test(has_the_statuses_and_codes_of_the_contract),
        cmocka_unit_test(every_kind_is_complete),
        cmocka_unit_test(an_errors_own_values_win),
        cmocka_unit_test(own_limits_differ_from_a_backends),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
