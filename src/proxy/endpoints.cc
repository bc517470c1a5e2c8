// The table of endpoints.
#include "llm_proxy/proxy/endpoints.h"

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>

namespace llmproxy
{

namespace
{

constexpr EndpointKind kRelay = EndpointKind::Relay;
constexpr EndMark kNone = EndMark::None;
constexpr EndMark kDone = EndMark::Done;

const Endpoint kEndpoints[] = {
    {"/v1/chat/completions", "chat", kRelay, kDone, true, false,
     make_ollama_chat},
    {"/v1/completions", "completions", kRelay, kDone, true, false,
     make_ollama_completion},
    {"/v1/embeddings", "embeddings", kRelay, kNone, true, false,
     make_ollama_embedding},
    {"/v1/models", "models", EndpointKind::Models, kNone, false, false,
     nullptr},
    {"/v1/models/", "model", EndpointKind::ModelDetail, kNone, false, false,
     nullptr},
    {"/healthz", "healthz", EndpointKind::Healthz, kNone, false, false,
     nullptr},
    {"/readyz", "readyz", EndpointKind::Readyz, kNone, false, false, nullptr},
    {"/internal/authz", "authz", EndpointKind::Authz, kNone, false, false,
     nullptr},
    {"/v1/responses", "responses", kRelay, EndMark::Responses, true, true,
     nullptr},
    {"/v1/rerank", "rerank", kRelay, kNone, true, true, nullptr},
    {"/v2/rerank", "rerank", kRelay, kNone, true, true, nullptr},
    {"/v1/score", "score", kRelay, kNone, true, true, nullptr},
    {"/tokenize", "tokenize", kRelay, kNone, false, true, nullptr},
    {"/detokenize", "detokenize", kRelay, kNone, false, true, nullptr},
    {"/classify", "classify", kRelay, kNone, true, true, nullptr},
    {"/pooling", "pooling", kRelay, kNone, true, true, nullptr},
};

bool switched_on(const Endpoint &endpoint, const Config &config)
{
    return !endpoint.optional ||
           std::find(config.extra_endpoints.begin(),
                     config.extra_endpoints.end(),
                     endpoint.name) != config.extra_endpoints.end();
}

} // namespace

const Endpoint *find_endpoint(std::string_view path, const Config &config)
{
    for (const Endpoint &endpoint : kEndpoints) {
        const bool match = endpoint.kind == EndpointKind::ModelDetail
                               ? path.size() > endpoint.path.size() &&
                                     starts_with(path, endpoint.path)
                               : path == endpoint.path;
        if (match) {
            return switched_on(endpoint, config) ? &endpoint : nullptr;
        }
    }
    return nullptr;
}

const char *allowed_methods(const Endpoint &endpoint)
{
    return endpoint.kind == EndpointKind::Relay ? "POST, OPTIONS"
                                                : "GET, HEAD, OPTIONS";
}

bool method_allowed(const Endpoint &endpoint, Method method)
{
    if (endpoint.kind == EndpointKind::Authz) {
        return true;
    }
    if (endpoint.kind == EndpointKind::Relay) {
        return method == Method::Post;
    }
    return method == Method::Get || method == Method::Head;
}

std::string unknown_url_message(Method method, std::string_view path,
                                const Config &config)
{
    std::string single;
    for (const char c : path) {
        if (c != '/' || single.empty() || single.back() != '/') {
            single += c;
        }
    }
    while (single.size() > 1 && single.back() == '/') {
        single.pop_back();
    }
    std::string message = "Invalid URL (";
    message += method_name(method);
    message += ' ';
    append_escaped(message, path, 200);
    message += ").";
    const Endpoint *meant = find_endpoint(single, config);
    if (meant != nullptr && single != path &&
        meant->kind != EndpointKind::Authz) {
        message += " Did you mean ";
        message += meant->path;
        message += '?';
    } else if (find_endpoint("/v1" + single, config) != nullptr) {
        message += " Did you forget /v1 in the base URL?";
    }
    return message;
}

} // namespace llmproxy
