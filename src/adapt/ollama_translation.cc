// The walk that is the same for every endpoint: the request becomes a tree
// without its long strings, a table of rows takes the members it knows over,
// and what comes out is cut where the long strings belong.

#include "ollama_translation.h"

#include <utility>

#include <jansson.h>

#include "dropped_params.h"
#include "head.h"
#include "keep_alive.h"
#include "ollama_options.h"
#include "wide_integers.h"

namespace llmproxy
{

namespace
{

bool is_in_table(const Rows &rows, std::string_view name)
{
    for (const Row &row : rows) {
        if (name == row.name) {
            return true;
        }
    }
    return false;
}

void note_dropped(Translation &t, const Rows &rows)
{
    const char *name = nullptr;
    json_t *value = nullptr;
    json_object_foreach(t.root, name, value)
    {
        if (!is_in_table(rows, name) && worth_listing(name, value)) {
            t.dropped.emplace_back(name);
        }
    }
    t.wishes.dropped = dropped_list(t.dropped);
}

// What the client asked for, checked by its row, within the operator's bound.
void bound_keep_alive(Translation &t)
{
    const Config &config = t.request.config;
    if (config.ollama_keep_alive_ms) {
        set_first(t, "keep_alive",
                  make_keep_alive(*config.ollama_keep_alive_ms));
    }
    const json_t *value = json_object_get(t.out, "keep_alive");
    int64_t ms = 0;
    if (value != nullptr && config.ollama_keep_alive_max_ms > 0 &&
        read_keep_alive(value, ms) && ms > config.ollama_keep_alive_max_ms) {
        json_object_set_new(t.out, "keep_alive",
                            make_keep_alive(config.ollama_keep_alive_max_ms));
    }
}

bool translate_members(Translation &t, const Rows &rows)
{
    for (const Row &row : rows) {
        json_t *value = json::get(t.root, row.name);
        if (value != nullptr && !row.handler(t, row.name, value)) {
            return false;
        }
    }
    // A prompt that is too long is an error to OpenAI's clients, and a prompt
    // with its beginning cut off to nobody but Ollama.
    if (!t.request.config.ollama_truncate) {
        set_first(t, "truncate", json_false());
    }
    add_default_options(t.request.config, t.options);
    bound_keep_alive(t);
    note_dropped(t, rows);
    return true;
}

} // namespace

bool translate_request(const NativeEndpoint &endpoint,
                       const ClientRequest &request, UpstreamRequest &out,
                       Wishes &wishes, ApiError &err)
{
    out.path = endpoint.path;
    if (endpoint.plain != nullptr && endpoint.plain(request, out, wishes)) {
        return true;
    }
    Skeleton skeleton;
    json::Ptr root;
    if (!skeleton.build(request.body, request.facts, root, err)) {
        return false;
    }
    const json::Ptr members(json_object());
    const json::Ptr options(json_object());
    Translation t{
        request, skeleton, root.get(), members.get(), options.get(), wishes,
        {},      {},       err};
    json::Ptr subject;
    if (!endpoint.check(t) || !translate_members(t, endpoint.rows) ||
        !endpoint.translate(t, subject)) {
        return false;
    }
    const json::Ptr body(json_object());
    json_object_set_new(
        body.get(), "model",
        json_stringn_nocheck(request.model.data(), request.model.size()));
    json_object_set_new(body.get(), endpoint.subject, subject.release());
    // Ollama streams what it can unless it is told not to.
    if (endpoint.lines != LineKind::None) {
        json_object_set_new(body.get(), "stream", json_boolean(wishes.stream));
    }
    json_object_update(body.get(), members.get());
    if (json_object_size(options.get()) > 0) {
        json_object_set(body.get(), "options", options.get());
    }
    out.own = without_marks(json::dump(body.get()), t.wide_mark);
    skeleton.cut(out.own, out.body);
    return true;
}

bool wrong_type(Translation &t, const std::string &name, const char *wanted)
{
    return refuse(t.err, ApiErrorKind::InvalidType,
                  "'" + name + "' must be " + wanted + ".", name);
}

bool unsupported(Translation &t, const std::string &name, std::string message)
{
    return refuse(t.err, ApiErrorKind::UnsupportedParameter, std::move(message),
                  name);
}

void set_first(Translation &t, const char *name, json_t *owned)
{
    const json::Ptr value(owned);
    if (json_object_get(t.out, name) == nullptr) {
        json_object_set(t.out, name, value.get());
    }
}

} // namespace llmproxy
