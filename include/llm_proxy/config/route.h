#ifndef LLM_PROXY_CONFIG_ROUTE_H
#define LLM_PROXY_CONFIG_ROUTE_H

#include "llm_proxy/config/settings.h"

#include <string>
#include <string_view>

namespace llmproxy
{

struct Route {
    const BackendConfig *backend = nullptr;
    std::string_view model;   // for the backend: prefix and blanks removed
    size_t removed_front = 0; // bytes of the sent text before `model`
};

// Finds the backend of a model name: the prefix "ollama:" or "vllm:" (exact,
// once) chooses, everything else goes to DEFAULT_BACKEND unchanged. False if
// nothing is left of the name, or it holds control bytes or over 512 bytes;
// `err` is a sentence for the client.
[[nodiscard]] bool route_model(const Config &config, std::string_view sent,
                               Route &out, Error &err);

// Whether the token's list allows `model` (without prefix) of that backend.
// Patterns are held against "backend:model" and, for the default backend,
// against the name alone.
bool may_use(const Config &config, const Principal &principal,
             BackendKind backend, std::string_view model);

// Whether OLLAMA_ALLOW_CLOUD keeps the model from being used, because Ollama
// would send the prompts to its maker's servers: its tag, behind the last
// colon, is "cloud" or ends in "-cloud", in any case of letters.
bool is_forbidden_cloud(const Config &config, BackendKind backend,
                        std::string_view model);

// What /v1/models puts before the name of a backend's model: "ollama:" or
// "vllm:", or nothing if MODELS_PREFIX is off and the name alone goes there.
std::string shown_prefix(const Config &config, BackendKind backend,
                         std::string_view model);

} // namespace llmproxy

#endif
