// POST /v1/chat/completions to Ollama's /api/chat: the table of its members,
// and the handlers of those that only a chat has.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/json/value.h"

#include <cstdint>
#include <iterator>
#include <memory>
#include <string>

#include <jansson.h>

#include "chat_writer.h"
#include "head.h"
#include "ollama_generation.h"
#include "ollama_members.h"
#include "ollama_messages.h"
#include "ollama_options.h"
#include "ollama_tools.h"
#include "ollama_translation.h"
#include "plain_chat.h"

namespace llmproxy
{

namespace
{

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
    if (!json::read_integer(value, count)) {
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

bool on_functions(Translation &t, const char *name, json_t * /*value*/)
{
    return unsupported(t, name,
                       std::string(name) +
                           " is not supported by this backend; use tools");
}

// OpenAI searches the web even where this is {}.
bool on_web_search(Translation &t, const char *name, json_t * /*value*/)
{
    t.dropped.emplace_back(name);
    return true;
}

bool on_modalities(Translation &t, const char *name, json_t *value)
{
    if (!json_is_array(value)) {
        return wrong_type(t, name, "an array");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (json::string_of(json_array_get(value, i)) != "text") {
            return unsupported(t, item_of(name, i),
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
    {"parallel_tool_calls", on_parallel_tool_calls},
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
    {"web_search_options", on_web_search},
    {"options", on_options},
    {"num_ctx", on_client_option},
    {"top_k", on_client_option},
    {"min_p", on_client_option},
    {"typical_p", on_client_option},
    {"repeat_penalty", on_client_option},
    {"repeat_last_n", on_client_option},
    {"num_keep", on_client_option},
    {"num_predict", on_client_option},
    {"keep_alive", on_keep_alive},
    {"format", on_format},
    {"truncate", on_switch},
    {"shift", on_switch},
};

bool check_messages(Translation &t)
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
    return true;
}

bool on_messages(Translation &t, json::Ptr &out)
{
    return translate_messages(t, json::get(t.root, "messages"), out);
}

constexpr NativeEndpoint kChat = {
    "/api/chat",
    LineKind::Chat,
    "messages",
    check_messages,
    {kRows, std::size(kRows)},
    on_messages,
    translate_plain_chat,
};

} // namespace

std::unique_ptr<Adapter> make_ollama_chat()
{
    return make_generation(kChat, std::make_unique<ChatWriter>());
}

} // namespace llmproxy
