#ifndef LLM_PROXY_PROXY_ENDPOINTS_H
#define LLM_PROXY_PROXY_ENDPOINTS_H

#include "llm_proxy/config/settings.h"
#include "llm_proxy/http/message.h"
#include "llm_proxy/http/sse.h"

#include <memory>
#include <string>
#include <string_view>

namespace llmproxy
{

class Adapter;

enum class EndpointKind {
    Relay,       // goes to a backend
    Models,      // GET /v1/models
    ModelDetail, // GET /v1/models/{id}
    Healthz,
    Readyz,
    Authz, // a web server's question, of any method; no client's business
};

// One row of the table of what the daemon answers.
struct Endpoint {
    std::string_view path; // a literal, as is the next
    std::string_view name; // in the access log, and in ENDPOINTS where optional
    EndpointKind kind;
    EndMark mark;  // says that a stream is whole
    bool charged;  // takes a unit of the token's limits
    bool optional; // on only where ENDPOINTS names it
    // How Ollama serves it; nullptr = not (501).
    std::unique_ptr<Adapter> (*ollama)();
};

// The row for a path, compared byte for byte; nullptr if there is none or it
// is switched off.
const Endpoint *find_endpoint(std::string_view path, const Config &config);
// "GET, HEAD, OPTIONS" or "POST, OPTIONS".
const char *allowed_methods(const Endpoint &endpoint);
bool method_allowed(const Endpoint &endpoint, Method method);
// A sentence for the 404 of a path that is nearly one of ours.
std::string unknown_url_message(Method method, std::string_view path,
                                const Config &config);

} // namespace llmproxy

#endif
