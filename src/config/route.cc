// Routes by model name. Only a prefix that names a configured backend is
// taken off; every other colon belongs to the model (tags, registry ports).

#include "llm_proxy/config/route.h"

#include "llm_proxy/base/strings.h"

namespace llmproxy
{

namespace
{

constexpr size_t kMaxModel = 512;

// Length of "name:" if the model begins with it.
size_t prefix_length(std::string_view model, const BackendConfig &backend)
{
    const std::string_view name = backend.name;
    if (name.empty() || !starts_with(model, name) ||
        model.size() == name.size() || model[name.size()] != ':') {
        return 0;
    }
    return name.size() + 1;
}

bool has_control_byte(std::string_view text)
{
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
            return true;
        }
    }
    return false;
}

} // namespace

bool route_model(const Config &config, std::string_view sent, Route &out,
                 Error &err)
{
    const std::string_view whole = trim(sent);
    if (whole.size() > kMaxModel) {
        err.message = "The model name is longer than 512 bytes.";
        return false;
    }
    if (has_control_byte(whole)) {
        err.message = "The model name holds a control character.";
        return false;
    }
    Route route;
    route.backend =
        &config.backends[static_cast<size_t>(config.default_backend)];
    route.model = whole;
    for (const BackendConfig &backend : config.backends) {
        const size_t prefix = prefix_length(whole, backend);
        if (prefix > 0) {
            route.backend = &backend;
            route.model.remove_prefix(prefix);
            break;
        }
    }
    if (route.model.empty()) {
        err.message = "You must provide a model.";
        return false;
    }
    route.removed_front = static_cast<size_t>(route.model.data() - sent.data());
    out = route;
    return true;
}

std::string shown_prefix(const Config &config, BackendKind backend,
                         std::string_view /*model*/)
{
    return std::string(config.backends[static_cast<size_t>(backend)].name) +
           ':';
}

bool may_use(const Config &config, const Principal &principal,
             BackendKind backend, std::string_view model)
{
    if (principal.models.empty()) {
        return true;
    }
    std::string prefixed = config.backends[static_cast<size_t>(backend)].name;
    prefixed += ':';
    prefixed += model;
    const bool is_default = backend == config.default_backend;
    for (const std::string &pattern : principal.models) {
        if (match_pattern(pattern, prefixed) ||
            (is_default && match_pattern(pattern, model))) {
            return true;
        }
    }
    return false;
}

} // namespace llmproxy
