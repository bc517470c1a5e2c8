// Ollama's generation options: which of them a client may set, and of what
// type they are. Ollama answers a wrong type with a 500 and ignores a name it
// does not know, so both are refused here.

#include "ollama_options.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <utility>

#include <jansson.h>

#include "head.h"

namespace llmproxy
{

namespace
{

enum class OptionType { Number, Integer, ContextSize, Stops, Switch };

struct Option {
    const char *name;
    OptionType type;
};

constexpr Option kOptions[] = {
    {"temperature", OptionType::Number},
    {"top_p", OptionType::Number},
    {"top_k", OptionType::Integer},
    {"min_p", OptionType::Number},
    {"typical_p", OptionType::Number},
    {"repeat_last_n", OptionType::Integer},
    {"repeat_penalty", OptionType::Number},
    {"presence_penalty", OptionType::Number},
    {"frequency_penalty", OptionType::Number},
    {"seed", OptionType::Integer},
    {"num_predict", OptionType::Integer},
    {"num_keep", OptionType::Integer},
    {"num_ctx", OptionType::ContextSize},
    {"stop", OptionType::Stops},
    {"num_batch", OptionType::Integer},
    {"num_gpu", OptionType::Integer},
    {"main_gpu", OptionType::Integer},
    {"num_thread", OptionType::Integer},
    {"use_mmap", OptionType::Switch},
    {"draft_num_predict", OptionType::Integer},
};
static_assert(std::size(kOptions) == std::size(kOllamaOptions),
              "each option that can be allowed has a type");

const Option *find_option(std::string_view name)
{
    for (const Option &option : kOptions) {
        if (name == option.name) {
            return &option;
        }
    }
    return nullptr;
}

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
    } else if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            json_t *item = json_array_get(value, i);
            if (!json_is_string(item)) {
                return wrong_type(err, param, "a string or array of strings");
            }
            if (json_string_length(item) > 0) {
                json_array_append(stops.get(), item);
            }
        }
    } else {
        return wrong_type(err, param, "a string or array of strings");
    }
    if (json_array_size(stops.get()) > 0) {
        json_object_set_new(options, "stop", stops.release());
    }
    return true;
}

} // namespace

bool read_integer(const json_t *value, int64_t &out)
{
    if (json_is_integer(value)) {
        out = json_integer_value(value);
        return true;
    }
    const double real = json_real_value(value);
    // 2^53: beyond it a real does not say which integer was meant.
    if (!json_is_real(value) || real != std::floor(real) ||
        std::fabs(real) > 9007199254740992.0) {
        return false;
    }
    out = static_cast<int64_t>(real);
    return true;
}

bool add_option(json_t *options, std::string_view name, json_t *value,
                const std::string &param, ApiError &err)
{
    const Option *option = find_option(name);
    if (option == nullptr) {
        return wrong_type(err, param, "an option of Ollama");
    }
    if (json_object_get(options, option->name) != nullptr) {
        return true;
    }
    int64_t integer = 0;
    switch (option->type) {
    case OptionType::Stops:
        return add_stops(options, value, param, err);
    case OptionType::Number:
        if (!json_is_number(value)) {
            return wrong_type(err, param, "a number");
        }
        json_object_set(options, option->name, value);
        return true;
    case OptionType::Switch:
        if (!json_is_boolean(value)) {
            return wrong_type(err, param, "a boolean");
        }
        json_object_set(options, option->name, value);
        return true;
    case OptionType::Integer:
    case OptionType::ContextSize:
        break;
    }
    if (!read_integer(value, integer)) {
        return wrong_type(err, param, "an integer");
    }
    // 0 and below give a window of four tokens, and garbage.
    if (option->type == OptionType::ContextSize && integer < 1) {
        return refuse(err, ApiErrorKind::InvalidValue,
                      "'" + param + "' must be at least 1.", param);
    }
    json_object_set_new(options, option->name, json_integer(integer));
    return true;
}

bool may_set_option(const Config &config, std::string_view name)
{
    const std::vector<std::string> &allowed = config.ollama_options_allow;
    for (const OllamaOption &option : kOllamaOptions) {
        if (name == option.name) {
            return allowed.empty() ? !option.reloads_model
                                   : std::find(allowed.begin(), allowed.end(),
                                               name) != allowed.end();
        }
    }
    return false;
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
    if (!read_integer(value, tokens)) {
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
    json::Ptr defaults;
    Error ignored; // checked when the settings were read
    const char *name = nullptr;
    json_t *value = nullptr;
    if (!config.ollama_default_options.empty() &&
        json::parse(config.ollama_default_options, defaults, ignored)) {
        json_object_foreach(defaults.get(), name, value)
        {
            if (json_object_get(options, name) == nullptr) {
                json_object_set(options, name, value);
            }
        }
    }
    const json_t *size = json_object_get(options, "num_ctx");
    const auto most = static_cast<json_int_t>(config.ollama_num_ctx_max);
    if (most > 0 && json_integer_value(size) > most) {
        json_object_set_new(options, "num_ctx", json_integer(most));
    }
}

} // namespace llmproxy
