#ifndef LLM_PROXY_ADAPT_MODEL_LIST_H
#define LLM_PROXY_ADAPT_MODEL_LIST_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/config/backends.h"

#include <string>
#include <string_view>
#include <vector>

namespace llmproxy
{

// One model as /v1/models shows it: its routable id ("ollama:llama3.2:latest")
// and the whole JSON object, rendered.
struct ModelEntry {
    std::string id;
    std::string json;
};

// The path that lists a backend's models: "/api/tags" or "/v1/models".
const char *model_list_path(BackendKind kind);
// Reads the answer to it. Unknown members of a vLLM model (max_model_len,
// root, parent) are kept; its id gets the prefix.
[[nodiscard]] bool parse_model_list(BackendKind kind, std::string_view body,
                                    int64_t now_s, std::vector<ModelEntry> &out,
                                    Error &err);
// {"object":"list","data":[...]}
std::string render_model_list(const std::vector<const ModelEntry *> &entries);
// The entry that `id` names: the id itself, with the default backend's prefix,
// or with ":latest" behind an Ollama name that has no tag; else nullptr.
const ModelEntry *find_model(const std::vector<ModelEntry> &entries,
                             std::string_view id, BackendKind default_backend);

} // namespace llmproxy

#endif
