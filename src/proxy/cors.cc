// Cross-origin requests of browsers: which pages may ask.
#include "cors.h"

#include <algorithm>
#include <string_view>

namespace llmproxy
{

namespace
{

// As long as browsers remember it.
constexpr uint64_t kMaxAgeS = 7200;

constexpr std::string_view kExposed =
    "X-Request-Id, X-Proxy-Partial, X-Proxy-Dropped-Params, "
    "X-RateLimit-Limit-Requests, X-RateLimit-Remaining-Requests, "
    "X-RateLimit-Reset-Requests, X-RateLimit-Limit-Requests-Day, "
    "X-RateLimit-Remaining-Requests-Day, X-RateLimit-Reset-Requests-Day, "
    "RateLimit, RateLimit-Policy, Retry-After, retry-after-ms, "
    "x-should-retry";

bool has_origin(const Config &config, std::string_view origin)
{
    return std::find(config.cors_origins.begin(), config.cors_origins.end(),
                     origin) != config.cors_origins.end();
}

// What Access-Control-Allow-Origin says; empty = nothing.
std::string_view allowed_origin(const Config &config, const RequestHead &head)
{
    if (has_origin(config, "*")) {
        return "*";
    }
    const std::string_view *origin = find_field(head.fields, "Origin");
    return origin != nullptr && has_origin(config, *origin)
               ? *origin
               : std::string_view();
}

} // namespace

void append_cors_fields(const Config &config, const RequestHead &head,
                        FieldBlock &out)
{
    if (config.cors_origins.empty()) {
        return;
    }
    // Caches must not give one page what was allowed to another.
    out.add("Vary", "Origin");
    const std::string_view origin = allowed_origin(config, head);
    if (!origin.empty()) {
        out.add("Access-Control-Allow-Origin", origin);
        out.add("Access-Control-Expose-Headers", kExposed);
    }
}

void append_preflight_fields(const Config &config, const RequestHead &head,
                             const char *methods, FieldBlock &out)
{
    if (allowed_origin(config, head).empty() ||
        find_field(head.fields, "Access-Control-Request-Method") == nullptr) {
        return;
    }
    out.add("Access-Control-Allow-Methods", methods);
    // Whatever the page wants to send: SDKs have fields of their own, and
    // Authorization is not covered by "*".
    const std::string_view *wanted =
        find_field(head.fields, "Access-Control-Request-Headers");
    if (wanted != nullptr && !wanted->empty()) {
        out.add("Access-Control-Allow-Headers", *wanted);
    }
    out.add("Access-Control-Max-Age", kMaxAgeS);
}

} // namespace llmproxy
