#ifndef LLM_PROXY_ADAPT_MODEL_LIST_H
#define LLM_PROXY_ADAPT_MODEL_LIST_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/config/backends.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy
{

// One model of a backend's list.
struct ModelEntry {
    std::string name; // the backend's own
    std::string json; // OpenAI's object, with the name as its id
    size_t id_at = 0; // where that begins in `json`
};

// One as a client sees it: with this in front of its name, so that the id
// can be sent back.
struct ShownModel {
    const ModelEntry *entry;
    std::string prefix; // "ollama:"; may be empty
};

// The path that lists a backend's models: "/api/tags" or "/v1/models".
const char *model_list_path(BackendKind kind);
// Reads the answer to it. Unknown members of a vLLM model (max_model_len,
// root, parent) are kept.
[[nodiscard]] bool parse_model_list(BackendKind kind, std::string_view body,
                                    int64_t now_s, std::vector<ModelEntry> &out,
                                    Error &err);
// The model's JSON object.
std::string render_model(const ShownModel &model);
// {"object":"list","data":[...]}
std::string render_model_list(const std::vector<ShownModel> &models);
// The entry of that name; nullptr if there is none.
const ModelEntry *find_model(const std::vector<ModelEntry> &entries,
                             std::string_view name);

} // namespace llmproxy

#endif
