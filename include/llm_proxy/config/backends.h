#ifndef LLM_PROXY_CONFIG_BACKENDS_H
#define LLM_PROXY_CONFIG_BACKENDS_H

#include "llm_proxy/http/url.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace llmproxy
{

enum class BackendKind { Ollama, Vllm };
constexpr size_t kBackends = 2;

// One configured model server. Its index (the kind) is its identity over
// reloads.
struct BackendConfig {
    BackendKind kind = BackendKind::Ollama;
    const char *name = ""; // "ollama", "vllm": the routing prefix
    BaseUrl url;
    std::string api_key;       // sent as Bearer; empty = none
    std::string ca_file;       // for https; empty = the system's
    uint64_t max_inflight = 0; // over all workers; 0 = unlimited
};

} // namespace llmproxy

#endif
