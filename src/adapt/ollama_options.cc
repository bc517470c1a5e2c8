// Ollama's generation options in a request. Ollama answers a wrong type with a
// 500 and ignores a name it does not know, so both are refused here.

#include "ollama_options.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <algorithm>
#include <cstdint>

#include <jansson.h>

#include "head.h"

namespace llmproxy
{

namespace
{

bool wrong_type(ApiError &err, const std::string &param, const char *wanted)
{
    return refuse(err, ApiErrorKind::InvalidType,
                  "'" + param + "' must be " + wanted + ".", param);
}

// A string is an array of one. Empty strings stop at once and are left out; if
// nothing is left, the model's own stops stay.
bool add_stops(json_t *options, json_t *value, const std::string &param,
               ApiError &err)
{
    json::Ptr stops(json_array());
    if (json_is_string(value)) {
        if (json_string_length(value) > 0) {
            json_array_append(stops.get(), value);
        }
    } else if (!json_is_array(value)) {
        return wrong_type(err, param, "a string or array of strings");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *item = json_array_get(value, i);
        if (!json_is_string(item)) {
            return wrong_type(err, item_of(param, i), "a string");
        }
        if (json_string_length(item) > 0) {
            json_array_append(stops.get(), item);
        }
    }
    if (json_array_size(stops.get()) > 0) {
        json_object_set_new(options, "stop", stops.release());
    }
    return true;
}

bool may_set_option(const Config &config, std::string_view name)
{
    const std::vector<std::string> &allowed = config.ollama_options_allow;
    const OllamaOption *option = find_ollama_option(name);
    if (option == nullptr || allowed.empty()) {
        return option != nullptr && !option->reloads_model;
    }
    return std::find(allowed.begin(), allowed.end(), name) != allowed.end();
}

} // namespace

bool add_option(json_t *options, std::string_view name, json_t *value,
                const std::string &param, ApiError &err)
{
    const OllamaOption *option = find_ollama_option(name);
    if (option == nullptr) {
        return wrong_type(err, param, "an option of Ollama");
    }
    if (json_object_get(options, option->name) != nullptr) {
        return true;
    }
    if (option->type == OptionType::Stops) {
        return add_stops(options, value, param, err);
    }
    const char *wanted = "";
    switch (check_ollama_option(*option, value, wanted)) {
    case OptionFault::Type:
        return wrong_type(err, param, wanted);
    case OptionFault::Range:
        return refuse(err, ApiErrorKind::InvalidValue,
                      "'" + param + "' must be " + wanted + ".", param);
    case OptionFault::None:
        break;
    }
    int64_t integer = 0;
    const bool whole = option->type != OptionType::Number &&
                       json::read_integer(value, integer);
    json_object_set_new(options, option->name,
                        whole ? json_integer(integer) : json_incref(value));
    return true;
}

bool add_client_option(const Config &config, json_t *options,
                       std::string_view name, json_t *value,
                       const std::string &param, ApiError &err)
{
    if (!may_set_option(config, name)) {
        return refuse(err, ApiErrorKind::UnsupportedParameter,
                      "'" + param + "' cannot be set by a request.", param);
    }
    return add_option(options, name, value, param, err);
}

bool add_options(const Config &config, json_t *options, json_t *members,
                 ApiError &err)
{
    const char *name = nullptr;
    json_t *value = nullptr;
    json_object_foreach(members, name, value)
    {
        if (json_is_null(value)) {
            continue;
        }
        if (!add_client_option(config, options, name, value,
                               std::string("options.") + name, err)) {
            return false;
        }
    }
    return true;
}

bool add_max_tokens(json_t *options, const json_t *value,
                    const std::string &param, ApiError &err)
{
    int64_t tokens = 0;
    if (!json::read_integer(value, tokens)) {
        return wrong_type(err, param, "an integer");
    }
    if (tokens == -1) {
        return true;
    }
    if (tokens < 1) {
        return refuse(err, ApiErrorKind::InvalidValue,
                      "'" + param + "' must be at least 1.", param);
    }
    if (json_object_get(options, "num_predict") == nullptr) {
        json_object_set_new(options, "num_predict", json_integer(tokens));
    }
    return true;
}

void add_default_options(const Config &config, json_t *options)
{
    const char *name = nullptr;
    json_t *value = nullptr;
    json_object_foreach(config.ollama_default_options.get(), name, value)
    {
        if (json_object_get(options, name) == nullptr) {
            json_object_set_new(options, name, json_deep_copy(value));
        }
    }
    const auto most = static_cast<int64_t>(config.ollama_num_ctx_max);
    int64_t size = 0;
    if (most > 0 &&
        json::read_integer(json_object_get(options, "num_ctx"), size) &&
        size > most) {
        json_object_set_new(options, "num_ctx", json_integer(most));
    }
}

} // namespace llmproxy
