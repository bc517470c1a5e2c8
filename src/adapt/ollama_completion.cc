// POST /v1/completions to Ollama's /api/generate: the table of its members,
// and the handlers of those that only a completion has.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/json/value.h"
#include "llm_proxy/json/writer.h"

#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include <jansson.h>

#include "base64_input.h"
#include "completion_writer.h"
#include "head.h"
#include "ollama_generation.h"
#include "ollama_members.h"
#include "ollama_options.h"
#include "ollama_translation.h"

namespace llmproxy
{

namespace
{

// They are asked for one after the other.
constexpr size_t kMaxPrompts = 128;

bool on_suffix(Translation &t, const char *name, json_t *value)
{
    if (!json_is_string(value)) {
        return wrong_type(t, name, "a string");
    }
    if (json_string_length(value) == 0) {
        return true;
    }
    // Ollama would leave the suffix out without a word.
    if (json_is_true(json::get(t.root, "raw"))) {
        return refuse(t.err, ApiErrorKind::InvalidValue,
                      "'suffix' has no effect where 'raw' is true; write the "
                      "model's own marks into the prompt.",
                      name);
    }
    set_first(t, name, json_incref(value));
    return true;
}

bool on_echo(Translation &t, const char *name, json_t *value)
{
    if (!json_is_boolean(value)) {
        return wrong_type(t, name, "a boolean");
    }
    // Nobody knows the probabilities of the prompt's tokens.
    if (json_is_true(value) && json::get(t.root, "logprobs") != nullptr) {
        return unsupported(t, name,
                           "echo together with logprobs is not supported by "
                           "this backend");
    }
    return true;
}

bool on_logprobs(Translation &t, const char *name, json_t *value)
{
    int64_t count = 0;
    if (!json::read_integer(value, count)) {
        return wrong_type(t, name, "an integer");
    }
    if (count < 0 || count > 20) {
        return refuse(t.err, ApiErrorKind::InvalidValue,
                      "'logprobs' must be between 0 and 20.", name);
    }
    set_first(t, "logprobs", json_true());
    set_first(t, "top_logprobs", json_integer(count));
    return true;
}

bool on_text(Translation &t, const char *name, json_t *value)
{
    if (!json_is_string(value)) {
        return wrong_type(t, name, "a string");
    }
    set_first(t, name, json_incref(value));
    return true;
}

bool on_images(Translation &t, const char *name, json_t *value)
{
    if (!json_is_array(value)) {
        return wrong_type(t, name, "an array of base64 strings");
    }
    const json::Ptr images(json_array());
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *image = json_array_get(value, i);
        if (!json_is_string(image)) {
            return wrong_type(t, item_of(name, i), "a base64 string");
        }
        if (!append_base64_input(t.skeleton, client_text(t.skeleton, image),
                                 images.get())) {
            return refuse(t.err, ApiErrorKind::InvalidRequest,
                          "invalid image input", item_of(name, i));
        }
    }
    if (json_array_size(value) > 0) {
        set_first(t, name, json_incref(images.get()));
    }
    return true;
}

// OpenAI's own members come first and so win over Ollama's settings, `think`
// excepted; `options` wins over the same setting beside it.
constexpr Row kRows[] = {
    {"model", on_checked_already},
    {"prompt", on_checked_already},
    {"stream", on_stream},
    {"stream_options", on_stream_options},
    {"max_tokens", on_max_tokens},
    {"temperature", on_option},
    {"top_p", on_option},
    {"seed", on_option},
    {"frequency_penalty", on_option},
    {"presence_penalty", on_option},
    {"stop", on_option},
    {"suffix", on_suffix},
    {"echo", on_echo},
    {"logprobs", on_logprobs},
    {"n", on_n},
    {"best_of", on_n},
    {"logit_bias", on_logit_bias},
    {"response_format", on_response_format},
    {"think", on_think},
    {"reasoning", on_reasoning},
    {"reasoning_effort", on_reasoning_effort},
    {"raw", on_switch},
    {"system", on_text},
    {"template", on_text},
    {"images", on_images},
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

// Tokens are integers, or arrays of integers for several prompts.
bool holds_tokens(const json_t *prompts)
{
    bool all = true;
    for (size_t i = 0; i < json_array_size(prompts); i++) {
        const json_t *item = json_array_get(prompts, i);
        all = all && (json_is_integer(item) || json_is_array(item));
    }
    return all && json_array_size(prompts) > 0;
}

bool check_prompt(Translation &t)
{
    const json_t *prompt = json::get(t.root, "prompt");
    if (prompt == nullptr) {
        return refuse(t.err, ApiErrorKind::MissingParameter,
                      "you must provide 'prompt'", "prompt");
    }
    if (json_is_string(prompt)) {
        return true;
    }
    if (holds_tokens(prompt)) {
        return unsupported(t, "prompt",
                           "token arrays are not supported; send text");
    }
    if (json_array_size(prompt) == 0) {
        return wrong_type(t, "prompt", "a string or an array of strings");
    }
    for (size_t i = 0; i < json_array_size(prompt); i++) {
        if (!json_is_string(json_array_get(prompt, i))) {
            return wrong_type(t, item_of("prompt", i), "a string");
        }
    }
    if (json_array_size(prompt) > kMaxPrompts) {
        return refuse(t.err, ApiErrorKind::InvalidValue,
                      "'prompt' may hold at most 128 prompts.", "prompt");
    }
    t.wishes.prompts = json_array_size(prompt);
    return true;
}

// What stands between the quotes of `text` as a JSON string.
std::string escaped(const Skeleton &skeleton, std::string_view text)
{
    std::string_view raw;
    if (skeleton.raw_of(text, raw)) {
        return std::string(raw);
    }
    std::string quoted;
    json::append_string(quoted, text);
    return quoted.substr(1, quoted.size() - 2);
}

bool on_prompt(Translation &t, json::Ptr &out)
{
    json_t *prompt = json::get(t.root, "prompt");
    json_t *text = json_is_array(prompt)
                       ? json_array_get(prompt, t.wishes.prompt)
                       : prompt;
    if (json_is_true(json::get(t.root, "echo"))) {
        // A copy: the client's body is gone once the answer begins.
        t.wishes.echo = escaped(t.skeleton, json::string_of(text));
    }
    out.reset(json_incref(text));
    return true;
}

constexpr NativeEndpoint kGenerate = {
    "/api/generate",           LineKind::Generate, "prompt", check_prompt,
    {kRows, std::size(kRows)}, on_prompt,          nullptr,
};

} // namespace

std::unique_ptr<Adapter> make_ollama_completion()
{
    return make_generation(kGenerate, std::make_unique<CompletionWriter>());
}

} // namespace llmproxy
