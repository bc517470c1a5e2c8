// Translates the members of a chat request to Ollama's. One table names them
// all, in the order in which they are checked; what it does not name has no
// effect on Ollama and is reported to the client as dropped.

#include "ollama_request.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <utility>
#include <vector>

#include <jansson.h>

#include "dropped_params.h"
#include "head.h"
#include "ollama_messages.h"
#include "ollama_options.h"
#include "ollama_translation.h"
#include "skeleton.h"

namespace llmproxy
{

namespace
{

bool on_checked_already(Translation & /*t*/, const char * /*name*/,
                        json_t * /*value*/)
{
    return true;
}

bool on_stream(Translation &t, const char *name, json_t *value)
{
    if (!json_is_boolean(value)) {
        return wrong_type(t, name, "a boolean");
    }
    t.wishes.stream = json_is_true(value);
    return true;
}

bool on_stream_options(Translation &t, const char *name, json_t *value)
{
    if (!json_is_object(value)) {
        return wrong_type(t, name, "an object");
    }
    const json_t *include = json::get(value, "include_usage");
    if (include != nullptr && !json_is_boolean(include)) {
        return wrong_type(t, "stream_options.include_usage", "a boolean");
    }
    t.wishes.include_usage = json_is_true(include);
    return true;
}

bool on_max_tokens(Translation &t, const char *name, json_t *value)
{
    return add_max_tokens(t.options, value, name, t.err);
}

bool on_option(Translation &t, const char *name, json_t *value)
{
    return add_option(t.options, name, value, name, t.err);
}

bool on_options(Translation &t, const char *name, json_t *value)
{
    if (!json_is_object(value)) {
        return wrong_type(t, name, "an object");
    }
    return add_options(t.options, value, t.err);
}

bool on_response_format(Translation &t, const char *name, json_t *value)
{
    if (!json_is_object(value)) {
        return wrong_type(t, name, "an object");
    }
    const std::string_view type = json::string_of(json::get(value, "type"));
    if (type == "text") {
        return true;
    }
    if (type == "json_object") {
        // Not "json": models with a template of their own ignore that.
        json::Ptr format(json_object());
        json_object_set_new(format.get(), "type", json_string("object"));
        set_first(t, "format", format.release());
        return true;
    }
    if (type != "json_schema") {
        return refuse(t.err, ApiErrorKind::InvalidValue,
                      "'response_format.type' must be text, json_object or "
                      "json_schema.",
                      "response_format.type");
    }
    json_t *schema = json::get(json::get(value, "json_schema"), "schema");
    if (!json_is_object(schema)) {
        return wrong_type(t, "response_format.json_schema.schema", "an object");
    }
    set_first(t, "format", json_incref(schema));
    return true;
}

bool on_format(Translation &t, const char *name, json_t *value)
{
    if (json_is_object(value) || json::string_of(value) == "json") {
        // response_format wins even where it says "text".
        if (json::get(t.root, "response_format") == nullptr) {
            set_first(t, "format", json_incref(value));
        }
        return true;
    }
    if (json_is_string(value) && json_string_length(value) == 0) {
        return true;
    }
    return wrong_type(t, name, "\"json\" or a JSON schema");
}

bool on_think(Translation &t, const char *name, json_t *value)
{
    const std::string_view level = json::string_of(value);
    if (!json_is_boolean(value) && level != "low" && level != "medium" &&
        level != "high" && level != "max") {
        return refuse(t.err, ApiErrorKind::InvalidValue,
                      "'think' must be a boolean, low, medium, high or max.",
                      name);
    }
    set_first(t, "think", json_incref(value));
    return true;
}

bool on_reasoning_effort(Translation &t, const char *name, json_t *value)
{
    static const struct {
        const char *effort;
        const char *think; // nullptr = false
    } levels[] = {{"none", nullptr},    {"minimal", "low"}, {"low", "low"},
                  {"medium", "medium"}, {"high", "high"},   {"xhigh", "max"},
                  {"ultra", "max"},     {"max", "max"}};
    const std::string_view effort = json::string_of(value);
    if (json_is_string(value) && effort.empty()) {
        return true;
    }
    for (const auto &level : levels) {
        if (effort == level.effort) {
            set_first(t, "think",
                      level.think == nullptr ? json_false()
                                             : json_string(level.think));
            return true;
        }
    }
    return refuse(t.err, ApiErrorKind::InvalidRequest,
                  "invalid reasoning value: must be none, minimal, low, "
                  "medium, high, xhigh or max",
                  name);
}

bool on_reasoning(Translation &t, const char *name, json_t *value)
{
    if (!json_is_object(value)) {
        return wrong_type(t, name, "an object");
    }
    json_t *effort = json::get(value, "effort");
    return effort == nullptr ||
           on_reasoning_effort(t, "reasoning.effort", effort);
}

bool on_logprobs(Translation &t, const char *name, json_t *value)
{
    if (!json_is_boolean(value)) {
        return wrong_type(t, name, "a boolean");
    }
    if (json_is_true(value)) {
        set_first(t, name, json_true());
    }
    return true;
}

bool on_top_logprobs(Translation &t, const char *name, json_t *value)
{
    int64_t count = 0;
    if (!read_integer(value, count)) {
        return wrong_type(t, name, "an integer");
    }
    if (count < 0 || count > 20) {
        return refuse(t.err, ApiErrorKind::InvalidValue,
                      "'top_logprobs' must be between 0 and 20.", name);
    }
    if (!json_is_true(json::get(t.root, "logprobs"))) {
        return refuse(t.err, ApiErrorKind::InvalidValue,
                      "'top_logprobs' needs 'logprobs' to be true.", name);
    }
    set_first(t, name, json_integer(count));
    return true;
}

bool on_n(Translation &t, const char *name, json_t *value)
{
    int64_t n = 0;
    if (!read_integer(value, n)) {
        return wrong_type(t, name, "an integer");
    }
    if (n != 1) {
        return unsupported(t, name,
                           n > 1 ? "n greater than 1 is not supported by "
                                   "this backend"
                                 : "n must be 1");
    }
    return true;
}

bool on_logit_bias(Translation &t, const char *name, json_t *value)
{
    if (!json_is_object(value)) {
        return wrong_type(t, name, "an object");
    }
    if (json_object_size(value) > 0) {
        return unsupported(t, name,
                           "logit_bias is not supported by this backend");
    }
    return true;
}

bool on_functions(Translation &t, const char *name, json_t * /*value*/)
{
    return unsupported(t, name,
                       std::string(name) +
                           " is not supported by this backend; use tools");
}

bool on_modalities(Translation &t, const char *name, json_t *value)
{
    if (!json_is_array(value)) {
        return wrong_type(t, name, "an array");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (json::string_of(json_array_get(value, i)) != "text") {
            return unsupported(t, name,
                               "only the modality text is supported by this "
                               "backend");
        }
    }
    return true;
}

bool on_audio(Translation &t, const char *name, json_t * /*value*/)
{
    return unsupported(t, name,
                       "audio output is not supported by this backend");
}

bool on_keep_alive(Translation &t, const char *name, json_t *value)
{
    if (!is_keep_alive(value)) {
        return refuse(t.err, ApiErrorKind::InvalidValue,
                      "'keep_alive' must be a number of seconds or a duration "
                      "with a unit, like \"5m\".",
                      name);
    }
    set_first(t, name, json_incref(value));
    return true;
}

bool on_switch(Translation &t, const char *name, json_t *value)
{
    if (!json_is_boolean(value)) {
        return wrong_type(t, name, "a boolean");
    }
    set_first(t, name, json_incref(value));
    return true;
}

struct Row {
    const char *name;
    Handler handler;
};

// OpenAI's own members come first and so win over Ollama's settings, `think`
// excepted; `options` wins over the same setting beside it.
constexpr Row kRows[] = {
    {"model", on_checked_already},
    {"messages", on_checked_already},
    {"stream", on_stream},
    {"stream_options", on_stream_options},
    {"max_completion_tokens", on_max_tokens},
    {"max_tokens", on_max_tokens},
    {"temperature", on_option},
    {"top_p", on_option},
    {"seed", on_option},
    {"frequency_penalty", on_option},
    {"presence_penalty", on_option},
    {"stop", on_option},
    {"response_format", on_response_format},
    {"tools", on_tools},
    {"tool_choice", on_tool_choice},
    {"think", on_think},
    {"reasoning", on_reasoning},
    {"reasoning_effort", on_reasoning_effort},
    {"logprobs", on_logprobs},
    {"top_logprobs", on_top_logprobs},
    {"n", on_n},
    {"logit_bias", on_logit_bias},
    {"functions", on_functions},
    {"function_call", on_functions},
    {"modalities", on_modalities},
    {"audio", on_audio},
    {"options", on_options},
    {"num_ctx", on_option},
    {"top_k", on_option},
    {"min_p", on_option},
    {"typical_p", on_option},
    {"repeat_penalty", on_option},
    {"repeat_last_n", on_option},
    {"num_keep", on_option},
    {"num_predict", on_option},
    {"keep_alive", on_keep_alive},
    {"format", on_format},
    {"truncate", on_switch},
    {"shift", on_switch},
};

bool is_in_table(std::string_view name)
{
    for (const Row &row : kRows) {
        if (name == row.name) {
            return true;
        }
    }
    return false;
}

void note_dropped(Translation &t)
{
    const char *name = nullptr;
    json_t *value = nullptr;
    json_object_foreach(t.root, name, value)
    {
        if (!is_in_table(name) && worth_listing(name, value)) {
            t.dropped.emplace_back(name);
        }
    }
    t.wishes.dropped = dropped_list(t.dropped);
}

bool check_messages(Translation &t, const json_t *&out)
{
    const json_t *messages = json::get(t.root, "messages");
    if (messages == nullptr) {
        return refuse(t.err, ApiErrorKind::MissingParameter,
                      "you must provide 'messages'", "messages");
    }
    if (!json_is_array(messages) || json_array_size(messages) == 0) {
        return refuse(t.err, ApiErrorKind::InvalidType,
                      "'messages' must be a non-empty array.", "messages");
    }
    out = messages;
    return true;
}

bool translate_members(Translation &t)
{
    for (const Row &row : kRows) {
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
    note_dropped(t);
    return true;
}

} // namespace

bool translate_chat_request(const ClientRequest &request, UpstreamRequest &out,
                            ChatWishes &wishes, ApiError &err)
{
    Skeleton skeleton;
    json::Ptr root;
    if (!skeleton.build(request.body, request.facts, root, err)) {
        return false;
    }
    const json::Ptr members(json_object());
    const json::Ptr options(json_object());
    Translation t{request, root.get(), members.get(), options.get(), wishes,
                  {},      err};
    const json_t *messages = nullptr;
    json::Ptr translated;
    if (!check_messages(t, messages) || !translate_members(t) ||
        !translate_messages(messages, skeleton, translated, err)) {
        return false;
    }
    const json::Ptr body(json_object());
    json_object_set_new(
        body.get(), "model",
        json_stringn_nocheck(request.model.data(), request.model.size()));
    json_object_set_new(body.get(), "messages", translated.release());
    // Ollama streams unless it is told not to.
    json_object_set_new(body.get(), "stream", json_boolean(wishes.stream));
    json_object_update(body.get(), members.get());
    if (json_object_size(options.get()) > 0) {
        json_object_set(body.get(), "options", options.get());
    }
    out.path = "/api/chat";
    json::append_dump(out.own, body.get());
    skeleton.cut(out.own, out.body);
    return true;
}

} // namespace llmproxy
