// Which members of a request the client is told to have been dropped.

#include "dropped_params.h"

#include "llm_proxy/json/value.h"

#include <jansson.h>

namespace llmproxy
{

namespace
{

constexpr size_t kMaxDropped = 16;
constexpr size_t kMaxDroppedName = 64;

// What absence means at OpenAI, where that is not nothing: to say so changes
// nothing for anybody. A switch that is not named here says something in both
// positions.
constexpr struct {
    std::string_view name;
    std::string_view value; // as JSON
} kDefaults[] = {
    {"store", "false"},
    {"stream", "false"},
    {"reasoning.exclude", "false"},
    {"service_tier", "\"auto\""},
    {"verbosity", "\"medium\""},
};

bool is_default(std::string_view name, const json_t *value)
{
    for (const auto &known : kDefaults) {
        if (name == known.name) {
            return json::dump(value) == known.value;
        }
    }
    return false;
}

// Dropping `metadata: {}` or `user: ""` changes nothing either.
bool is_empty(const json_t *value)
{
    return json_is_null(value) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

// Only what can stand in a header is listed.
bool is_plain_name(std::string_view name)
{
    constexpr std::string_view plain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    return !name.empty() && name.size() <= kMaxDroppedName &&
           name.find_first_not_of(plain) == std::string_view::npos;
}

} // namespace

bool worth_listing(std::string_view name, const json_t *value)
{
    return is_plain_name(name) && !is_empty(value) && !is_default(name, value);
}

std::string dropped_list(const std::vector<std::string> &names)
{
    std::string list;
    size_t listed = 0;
    for (const std::string &name : names) {
        if (listed == kMaxDropped) {
            list += ",...";
            break;
        }
        if (listed++ > 0) {
            list += ',';
        }
        list.append(name);
    }
    return list;
}

} // namespace llmproxy
