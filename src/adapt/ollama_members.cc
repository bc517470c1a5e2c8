// The members that mean the same in every request to a generating endpoint.

#include "ollama_members.h"

#include "llm_proxy/json/value.h"

#include <string>
#include <string_view>

#include <jansson.h>

#include "dropped_params.h"
#include "head.h"
#include "keep_alive.h"
#include "ollama_options.h"

namespace llmproxy
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

bool on_client_option(Translation &t, const char *name, json_t *value)
{
    return add_client_option(t.request.config, t.options, name, value, name,
                             t.err);
}

bool on_options(Translation &t, const char *name, json_t *value)
{
    if (!json_is_object(value)) {
        return wrong_type(t, name, "an object");
    }
    return add_options(t.request.config, t.options, value, t.err);
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
        if (effort == level.effort && t.wishes.without_reasoning) {
            const std::string_view member = name;
            t.dropped.emplace_back(member.substr(0, member.find('.')));
            return true;
        }
        if (effort == level.effort) {
            // `think` itself is meant as it is said.
            if (json_object_get(t.out, "think") == nullptr) {
                t.wishes.reasoning = true;
            }
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
    const char *key = nullptr;
    json_t *member = nullptr;
    json_object_foreach(value, key, member)
    {
        const std::string path = std::string(name) + "." + key;
        if (path != "reasoning.effort" && worth_listing(path, member)) {
            t.dropped.push_back(path);
        }
    }
    json_t *effort = json::get(value, "effort");
    return effort == nullptr ||
           on_reasoning_effort(t, "reasoning.effort", effort);
}

bool on_n(Translation &t, const char *name, json_t *value)
{
    int64_t n = 0;
    if (!json::read_integer(value, n)) {
        return wrong_type(t, name, "an integer");
    }
    if (n != 1) {
        return unsupported(t, name,
                           std::string(name) +
                               (n > 1 ? " greater than 1 is not supported by "
                                        "this backend"
                                      : " must be 1"));
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

bool on_keep_alive(Translation &t, const char *name, json_t *value)
{
    int64_t ms = 0;
    if (!read_keep_alive(value, ms)) {
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

} // namespace llmproxy
