#ifndef LLM_PROXY_SRC_ADAPT_BACKEND_ERROR_H
#define LLM_PROXY_SRC_ADAPT_BACKEND_ERROR_H

#include "llm_proxy/http/api_error.h"

#include <cstddef>
#include <string>
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
// An answer that ended before it was done, which is how Ollama reports that
// its runner failed.
ApiError unfinished_error();
// At most 1 KiB of a backend's words, without control bytes.
std::string printable(std::string_view text);

constexpr size_t kMaxOllamaError = size_t{64} << 10; // bytes of a refusal

} // namespace llmproxy

#endif
