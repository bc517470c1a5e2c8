// Tools of a chat request.

#include "ollama_tools.h"

#include "llm_proxy/json/value.h"

#include <string>
#include <string_view>

#include <jansson.h>

#include "head.h"

namespace llmproxy
{

namespace
{

// Ollama cannot be made to call a tool; the best that can be done is to offer
// it nothing but the one that was named.
bool offer_one_tool(Translation &t, std::string_view wanted)
{
    const json_t *tools = json_object_get(t.out, "tools");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        json_t *tool = json_array_get(tools, i);
        if (json::string_of(json::get(json::get(tool, "function"), "name")) ==
            wanted) {
            json_t *one = json_array();
            json_array_append(one, tool);
            json_object_set_new(t.out, "tools", one);
            return true;
        }
    }
    return refuse(t.err, ApiErrorKind::InvalidValue,
                  "'tool_choice' names a function that 'tools' does not hold.",
                  "tool_choice");
}

} // namespace

bool on_tools(Translation &t, const char *name, json_t *value)
{
    if (!json_is_array(value)) {
        return wrong_type(t, name, "an array");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *tool = json_array_get(value, i);
        const json_t *function = json::get(tool, "function");
        std::string where = item_of(name, i);
        if (json::string_of(json::get(tool, "type")) != "function") {
            where += ".type";
            return refuse(t.err, ApiErrorKind::InvalidValue,
                          "'" + where + "' must be function.", where);
        }
        if (json::string_of(json::get(function, "name")).empty()) {
            return wrong_type(t, where + ".function.name",
                              "a string that is not empty");
        }
    }
    if (json_array_size(value) > 0) {
        set_first(t, name, json_incref(value));
    }
    return true;
}

bool on_tool_choice(Translation &t, const char *name, json_t *value)
{
    const std::string_view word = json::string_of(value);
    if (word == "auto") {
        return true;
    }
    if (word == "none") {
        json_object_del(t.out, "tools");
        return true;
    }
    t.dropped.emplace_back(name);
    if (word == "required") {
        return true;
    }
    const std::string_view wanted =
        json::string_of(json::get(json::get(value, "function"), "name"));
    if (wanted.empty()) {
        return wrong_type(t, name,
                          "none, auto, required or a function by its name");
    }
    return offer_one_tool(t, wanted);
}

bool on_parallel_tool_calls(Translation &t, const char *name, json_t *value)
{
    if (!json_is_boolean(value)) {
        return wrong_type(t, name, "a boolean");
    }
    // That a model may make several calls is what happens anyhow.
    if (json_is_false(value)) {
        t.dropped.emplace_back(name);
    }
    return true;
}

} // namespace llmproxy
