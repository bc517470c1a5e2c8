#ifndef LLM_PROXY_SRC_ADAPT_BACKEND_ERROR_H
#define LLM_PROXY_SRC_ADAPT_BACKEND_ERROR_H

#include "llm_proxy/http/api_error.h"

#include <string_view>

namespace llmproxy
{

// A backend's refusal as it came: the status, its Retry-After, its body.
struct BackendRefusal {
    int status = 0;
    int retry_after_s = 0;
    std::string_view body;
    std::string_view backend; // its configured name
};

// vLLM, llama.cpp and other OpenAI-compatible servers: nested and flat error
// objects, `error` as a string, FastAPI's `detail`.
ApiError map_openai_error(const BackendRefusal &refusal);
// False of an object whose `error` is null or false: it has merely the member.
bool reports_error(std::string_view json);
// The same for an error event in a stream, whose status stands in its body.
ApiError map_openai_event(std::string_view json, std::string_view backend);

// Ollama: {"error":"text"}, where the text may itself be a runner's JSON.
ApiError map_ollama_error(const BackendRefusal &refusal);
// The same for the `error` of a line in a 200.
ApiError map_ollama_text(std::string_view text);

} // namespace llmproxy

#endif
