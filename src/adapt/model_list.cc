// Reads what a backend lists as its models and writes it as OpenAI's list,
// with ids that can be sent back as they are.

#include "llm_proxy/adapt/model_list.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"
#include "llm_proxy/json/writer.h"

#include <utility>

#include <jansson.h>

#include "timestamp.h"

namespace llmproxy
{

namespace
{

const char *id_prefix(BackendKind kind)
{
    return kind == BackendKind::Ollama ? "ollama:" : "vllm:";
}

// [host[:port]/][namespace/]model[:tag]
std::string_view namespace_of(std::string_view name)
{
    const size_t last = name.rfind('/');
    if (last == std::string_view::npos) {
        return "library";
    }
    name = name.substr(0, last);
    const size_t before = name.rfind('/');
    return before == std::string_view::npos ? name : name.substr(before + 1);
}

// A colon in front of a slash belongs to a host's port.
bool has_tag(std::string_view name)
{
    const size_t slash = name.rfind('/');
    return name.find(':', slash == std::string_view::npos ? 0 : slash) !=
           std::string_view::npos;
}

bool read_ollama_model(const json_t *model, int64_t now_s, ModelEntry &out)
{
    std::string_view name = json::string_of(json::get(model, "model"));
    if (name.empty()) {
        name = json::string_of(json::get(model, "name"));
    }
    if (name.empty()) {
        return false;
    }
    out.id = id_prefix(BackendKind::Ollama);
    out.id.append(name);
    out.json = "{\"id\":";
    json::append_string(out.json, out.id);
    out.json += ",\"object\":\"model\",\"created\":";
    const int64_t created =
        unix_seconds(json::string_of(json::get(model, "modified_at")), now_s);
    append_u64(out.json, static_cast<uint64_t>(created < 0 ? 0 : created));
    out.json += ",\"owned_by\":";
    json::append_string(out.json, namespace_of(name));
    out.json += '}';
    return true;
}

bool read_vllm_model(json_t *model, ModelEntry &out)
{
    const std::string_view name = json::string_of(json::get(model, "id"));
    if (name.empty()) {
        return false;
    }
    out.id = id_prefix(BackendKind::Vllm);
    out.id.append(name);
    // In its place: the order of members stays.
    json_object_set_new(model, "id",
                        json_stringn(out.id.data(), out.id.size()));
    out.json = json::dump(model);
    return true;
}

const ModelEntry *find_id(const std::vector<ModelEntry> &entries,
                          std::string_view id)
{
    for (const ModelEntry &entry : entries) {
        if (entry.id == id) {
            return &entry;
        }
    }
    return nullptr;
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

std::string render_model_list(const std::vector<const ModelEntry *> &entries)
{
    std::string out = "{\"object\":\"list\",\"data\":[";
    for (size_t i = 0; i < entries.size(); i++) {
        if (i > 0) {
            out += ',';
        }
        out += entries[i]->json;
    }
    out += "]}";
    return out;
}

const ModelEntry *find_model(const std::vector<ModelEntry> &entries,
                             std::string_view id, BackendKind default_backend)
{
    const std::string_view ollama = id_prefix(BackendKind::Ollama);
    std::string with_prefix = id_prefix(default_backend);
    with_prefix.append(id);
    for (const std::string &name : {std::string(id), with_prefix}) {
        const ModelEntry *entry = find_id(entries, name);
        if (entry == nullptr && starts_with(name, ollama) &&
            !has_tag(std::string_view(name).substr(ollama.size()))) {
            entry = find_id(entries, name + ":latest");
        }
        if (entry != nullptr) {
            return entry;
        }
    }
    return nullptr;
}

} // namespace llmproxy
