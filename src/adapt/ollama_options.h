#ifndef LLM_PROXY_SRC_ADAPT_OLLAMA_OPTIONS_H
#define LLM_PROXY_SRC_ADAPT_OLLAMA_OPTIONS_H

#include "llm_proxy/config/settings.h"
#include "llm_proxy/http/api_error.h"

#include <string>
#include <string_view>

struct json_t;

namespace llmproxy
{

// Checks one of Ollama's generation options and puts it into `options`, unless
// it is there already. `param` is how the client wrote it.
[[nodiscard]] bool add_option(json_t *options, std::string_view name,
                              json_t *value, const std::string &param,
                              ApiError &err);
// The same for one that is not OpenAI's own: only where the operator lets
// clients set it.
[[nodiscard]] bool add_client_option(const Config &config, json_t *options,
                                     std::string_view name, json_t *value,
                                     const std::string &param, ApiError &err);
// The same for all members of an `options` object.
[[nodiscard]] bool add_options(const Config &config, json_t *options,
                               json_t *members, ApiError &err);
// Behind them: what the operator has said for requests that do not, and the
// bound on the context.
void add_default_options(const Config &config, json_t *options);
// max_tokens and max_completion_tokens: at least 1; -1 is "not given".
[[nodiscard]] bool add_max_tokens(json_t *options, const json_t *value,
                                  const std::string &param, ApiError &err);

} // namespace llmproxy

#endif
