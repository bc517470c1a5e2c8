// What Ollama's generation options may be, for settings and requests alike.

#include "llm_proxy/config/ollama_options.h"

#include "llm_proxy/json/value.h"

#include <cstdint>

namespace llmproxy
{

namespace
{

bool is_list_of_strings(const json_t *value)
{
    const std::string_view kind = json::type_name(value);
    for (const json_t *item : json::elements(value)) {
        // An empty one stops every answer at its beginning.
        if (json::string_of(item).empty()) {
            return false;
        }
    }
    return kind == "an array";
}

} // namespace

const OllamaOption *find_ollama_option(std::string_view name)
{
    for (const OllamaOption &option : kOllamaOptions) {
        if (name == option.name) {
            return &option;
        }
    }
    return nullptr;
}

OptionFault check_ollama_option(const OllamaOption &option, const json_t *value,
                                const char *&wanted)
{
    const std::string_view kind = json::type_name(value);
    int64_t integer = 0;
    bool good = false;
    switch (option.type) {
    case OptionType::Number:
        wanted = "a number";
        good = kind == "an integer" || kind == "a fraction";
        break;
    case OptionType::Integer:
        wanted = "an integer";
        good = json::read_integer(value, integer);
        break;
    case OptionType::ContextSize:
        wanted = "an integer";
        good = json::read_integer(value, integer);
        // 0 and below give a window of four tokens, and garbage.
        if (good && integer < 1) {
            wanted = "at least 1";
            return OptionFault::Range;
        }
        break;
    case OptionType::Stops:
        wanted = "an array of strings that are not empty";
        good = is_list_of_strings(value);
        break;
    case OptionType::Switch:
        wanted = "a boolean";
        good = kind == "a boolean";
        break;
    }
    return good ? OptionFault::None : OptionFault::Type;
}

} // namespace llmproxy
