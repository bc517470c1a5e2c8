// Routes by model name. Only a prefix that names a configured backend is
// taken off; every other colon belongs to the model (tags, registry ports).

#include "llm_proxy/config/route.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/scanner.h"

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

// [host[:port]/][namespace/]model[:tag]; a colon in front of a slash belongs
// to a port.
std::string_view tag_of(std::string_view model)
{
    const size_t mark = model.find_last_of(":/");
    return mark == std::string_view::npos || model[mark] == '/'
               ? std::string_view()
               : model.substr(mark + 1);
}

bool is_blank(char c)
{
    return c == ' ' || static_cast<unsigned char>(c) >= 0x80;
}

// Ollama takes Unicode's blanks off a tag; no other character that is not
// ASCII can stand in one.
std::string_view trim_tag(std::string_view tag)
{
    while (!tag.empty() && is_blank(tag.front())) {
        tag.remove_prefix(1);
    }
    while (!tag.empty() && is_blank(tag.back())) {
        tag.remove_suffix(1);
    }
    return tag;
}

} // namespace

bool route_model(const Config &config, std::string_view sent, Route &out,
                 Error &err)
{
    const std::string_view whole = trim(sent);
    if (whole.size() > kMaxModel || sent.size() > json::kMaxModelText) {
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

bool is_forbidden_cloud(const Config &config, BackendKind backend,
                        std::string_view model)
{
    if (backend != BackendKind::Ollama || config.ollama_allow_cloud) {
        return false;
    }
    const std::string tag = to_lower(trim_tag(tag_of(model)));
    return tag == "cloud" || ends_with(tag, "-cloud");
}

std::string shown_prefix(const Config &config, BackendKind backend,
                         std::string_view model)
{
    Route alone;
    Error ignored;
    if (!config.models_prefix && route_model(config, model, alone, ignored) &&
        alone.backend->kind == backend && alone.model == model) {
        return {};
    }
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
