// The parts of request and reply heads that do not depend on the backend's
// wire: what a backend is told about a request, and which replies are refused
// before their body is looked at.

#include "head.h"

#include "llm_proxy/base/strings.h"

#include <utility>

namespace llmproxy
{

namespace
{

std::string header_line(std::string_view name, std::string_view value)
{
    std::string line;
    line.reserve(name.size() + value.size());
    line.append(name);
    line.append(value);
    return line;
}

} // namespace

std::vector<std::string> request_headers(const ClientRequest &request,
                                         std::string_view accept)
{
    std::vector<std::string> out;
    out.reserve(6); // with those that an adapter adds
    out.emplace_back("Content-Type: application/json");
    if (accept != "*/*") { // which is what libcurl sends by itself
        out.push_back(header_line("Accept: ", accept));
    }
    out.push_back(header_line("X-Request-Id: ", request.request_id));
    // Never the client's own Authorization: that token is ours.
    if (!request.backend.api_key.empty()) {
        out.push_back(
            header_line("Authorization: Bearer ", request.backend.api_key));
    }
    return out;
}

bool has_media_type(const ReplyHead &head, std::string_view type)
{
    const std::string_view *value = head.find("Content-Type");
    return value != nullptr &&
           iequals(trim(value->substr(0, value->find(';'))), type);
}

const char *unusable_reply(const ReplyHead &head)
{
    if (head.status < 200 || head.status > 203) {
        return head.status >= 300 && head.status < 400
                   ? "The backend answered with a redirect, which is never "
                     "followed; check its base URL."
                   : "The backend answered with a status that has no use "
                     "here.";
    }
    // None was asked for, and none is ever decoded.
    for (const Field &field : head.fields) {
        if (iequals(field.name, "Content-Encoding") &&
            !iequals(field.value, "identity")) {
            return "The backend compressed its answer without being asked to.";
        }
        if (iequals(field.name, "Transfer-Encoding") &&
            !iequals(field.value, "chunked")) {
            return "The backend answered in an unknown transfer coding.";
        }
    }
    return nullptr;
}

bool accept_ollama_reply(const ReplyHead &head, bool may_stream, ApiError &err)
{
    const char *why = unusable_reply(head);
    if (why == nullptr && !has_media_type(head, "application/json") &&
        !(may_stream && has_media_type(head, "application/x-ndjson"))) {
        why = "The backend's answer is not JSON; check its base URL.";
    }
    if (why == nullptr) {
        return true;
    }
    (void)refuse(err, ApiErrorKind::BackendBadResponse, why);
    // Something answers there, but it is no Ollama, and will not become one.
    err.no_retry = head.status >= 200 && head.status < 400;
    return false;
}

int reply_retry_after(const ReplyHead &head)
{
    constexpr uint64_t day = 86400;
    const std::string_view *value = head.find("Retry-After");
    uint64_t seconds = 0;
    if (value == nullptr || !parse_u64(*value, seconds)) {
        return 0;
    }
    return static_cast<int>(seconds < day ? seconds : day);
}

std::string item_of(std::string_view array, size_t index)
{
    std::string out(array);
    out += '[';
    append_u64(out, index);
    out += ']';
    return out;
}

bool refuse(ApiError &err, ApiErrorKind kind, std::string message,
            std::string param)
{
    err = ApiError();
    err.kind = kind;
    err.message = std::move(message);
    err.param = std::move(param);
    return false;
}

} // namespace llmproxy
