// Reads what a backend lists as its models and writes it as OpenAI's list,
// with ids that can be sent back as they are.

#include "llm_proxy/adapt/model_list.h"

#include "llm_proxy/json/value.h"
#include "llm_proxy/json/writer.h"

#include <utility>

#include <jansson.h>

#include "model_members.h"

namespace llmproxy
{

namespace
{

// "id":"<name>"
void append_id(ModelEntry &out)
{
    out.json += "\"id\":";
    out.id_at = out.json.size() + 1;
    json::append_string(out.json, out.name);
}

bool read_ollama_model(const json_t *model, int64_t now_s, ModelEntry &out)
{
    out.name = json::string_of(json::get(model, "model"));
    if (out.name.empty()) {
        out.name = json::string_of(json::get(model, "name"));
    }
    if (out.name.empty()) {
        return false;
    }
    out.json = "{";
    append_id(out);
    out.json += ',';
    append_model_members(out.json, out.name, model, now_s);
    out.json += '}';
    return true;
}

bool read_vllm_model(json_t *model, ModelEntry &out)
{
    out.name = json::string_of(json::get(model, "id"));
    if (out.name.empty()) {
        return false;
    }
    // The order of members stays.
    const char *key = nullptr;
    json_t *value = nullptr;
    json_object_foreach(model, key, value)
    {
        out.json += out.json.empty() ? '{' : ',';
        if (std::string_view(key) == "id") {
            append_id(out);
            continue;
        }
        json::append_string(out.json, key);
        out.json += ':';
        json::append_dump(out.json, value);
    }
    out.json += '}';
    return true;
}

void append_model(std::string &out, const ShownModel &model)
{
    const ModelEntry &entry = *model.entry;
    out.append(entry.json, 0, entry.id_at);
    out += model.prefix;
    out.append(entry.json, entry.id_at, std::string::npos);
}

} // namespace

const char *model_list_path(BackendKind kind)
{
    return kind == BackendKind::Ollama ? "/api/tags" : "/v1/models";
}

bool parse_model_list(BackendKind kind, std::string_view body, int64_t now_s,
                      std::vector<ModelEntry> &out, Error &err)
{
    json::Ptr root;
    if (!json::parse_lenient(body, root, err)) {
        return false;
    }
    const bool ollama = kind == BackendKind::Ollama;
    const char *key = ollama ? "models" : "data";
    const json_t *models = json_object_get(root.get(), key);
    // Go writes an empty list as null in some versions.
    if (!json_is_array(models) && !json_is_null(models)) {
        err.message = std::string("no list named \"") + key + "\" in it";
        return false;
    }
    std::vector<ModelEntry> entries;
    for (size_t i = 0; i < json_array_size(models); i++) {
        json_t *model = json_array_get(models, i);
        ModelEntry entry;
        if (ollama ? read_ollama_model(model, now_s, entry)
                   : read_vllm_model(model, entry)) {
            entries.push_back(std::move(entry));
        }
    }
    out = std::move(entries);
    return true;
}

std::string render_model(const ShownModel &model)
{
    std::string out;
    append_model(out, model);
    return out;
}

std::string render_model_list(const std::vector<ShownModel> &models)
{
    std::string out = "{\"object\":\"list\",\"data\":[";
    for (size_t i = 0; i < models.size(); i++) {
        if (i > 0) {
            out += ',';
        }
        append_model(out, models[i]);
    }
    out += "]}";
    return out;
}

const ModelEntry *find_model(const std::vector<ModelEntry> &entries,
                             std::string_view name)
{
    for (const ModelEntry &entry : entries) {
        if (entry.name == name) {
            return &entry;
        }
    }
    return nullptr;
}

} // namespace llmproxy
