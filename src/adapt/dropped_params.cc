// Which members of a request the client is told to have been dropped.

#include "dropped_params.h"

#include <jansson.h>

namespace llmproxy
{

namespace
{

constexpr size_t kMaxDropped = 16;
constexpr size_t kMaxDroppedName = 64;

// Dropping `store: false` or `user: ""` changes nothing for anybody.
bool says_something(const json_t *value)
{
    return !(json_is_null(value) || json_is_false(value) ||
             (json_is_string(value) && json_string_length(value) == 0) ||
             (json_is_array(value) && json_array_size(value) == 0) ||
             (json_is_object(value) && json_object_size(value) == 0));
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
    return says_something(value) && is_plain_name(name);
}

std::string dropped_list(const std::vector<std::string_view> &names)
{
    std::string list;
    size_t listed = 0;
    for (const std::string_view name : names) {
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
