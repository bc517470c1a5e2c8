#ifndef LLM_PROXY_CONFIG_OLLAMA_OPTIONS_H
#define LLM_PROXY_CONFIG_OLLAMA_OPTIONS_H

#include <string_view>

struct json_t;

namespace llmproxy
{

enum class OptionType { Number, Integer, ContextSize, Stops, Switch };

// One of Ollama's generation options, as its API spells it. Those that make it
// load the model anew, for every client, are to be allowed by name.
struct OllamaOption {
    const char *name;
    OptionType type;
    bool reloads_model;
};
constexpr OllamaOption kOllamaOptions[] = {
    {"temperature", OptionType::Number, false},
    {"top_p", OptionType::Number, false},
    {"top_k", OptionType::Integer, false},
    {"min_p", OptionType::Number, false},
    {"typical_p", OptionType::Number, false},
    {"repeat_last_n", OptionType::Integer, false},
    {"repeat_penalty", OptionType::Number, false},
    {"presence_penalty", OptionType::Number, false},
    {"frequency_penalty", OptionType::Number, false},
    {"seed", OptionType::Integer, false},
    {"num_predict", OptionType::Integer, false},
    {"num_keep", OptionType::Integer, false},
    {"stop", OptionType::Stops, false},
    {"num_ctx", OptionType::ContextSize, false},
    {"num_batch", OptionType::Integer, true},
    {"num_gpu", OptionType::Integer, true},
    {"main_gpu", OptionType::Integer, true},
    {"num_thread", OptionType::Integer, true},
    {"use_mmap", OptionType::Switch, true},
    {"draft_num_predict", OptionType::Integer, true},
};

// nullptr if there is none of that name.
const OllamaOption *find_ollama_option(std::string_view name);

enum class OptionFault { None, Type, Range };
// What is wrong with `value`, as Ollama itself takes it: it answers a wrong
// type with 500. `wanted` is then what it must be, "an integer".
OptionFault check_ollama_option(const OllamaOption &option, const json_t *value,
                                const char *&wanted);

} // namespace llmproxy

#endif
