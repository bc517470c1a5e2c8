#ifndef LLM_PROXY_SRC_ADAPT_OLLAMA_LINE_H
#define LLM_PROXY_SRC_ADAPT_OLLAMA_LINE_H

#include "llm_proxy/http/api_error.h"
#include "llm_proxy/json/value.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy
{

// Whose answer a line belongs to: they hold their text in different places.
// None: an answer that is never streamed, and has no lines.
enum class LineKind { Chat, Generate, None };

// One object of an answer. The views live as long as `root`, or without one as
// the line itself.
struct OllamaLine {
    json::Ptr root;
    bool answers = false; // it holds what an answer is made of
    bool says_if_done = false;
    std::string_view created_at;
    std::string_view text;
    bool escaped = false; // `text` is as it stands between its quotes
    std::string_view thinking;
    json_t *tool_calls = nullptr; // an array that is not empty, or nullptr
    json_t *logprobs = nullptr;   // the same
    bool done = false;
    std::string_view done_reason;
    int64_t prompt_tokens = 0; // Ollama leaves counts of 0 out
    int64_t completion_tokens = 0;
    int64_t cached_tokens = -1; // -1 = not said
    // Stands in front of the integers beyond 64 bits that `root` holds as
    // strings; empty if it holds none.
    std::string wide_mark;
};

// As json::dump; integers beyond 64 bits come out as they came in.
std::string dump_exactly(const OllamaLine &line, const json_t *value);

// False if the line ends the exchange: no JSON that can be used, or an error.
[[nodiscard]] bool read_line(std::string_view text, LineKind kind,
                             OllamaLine &out, ApiError &err);

// The line that makes up nearly all of a stream, found without a tree:
// {"model":M,"created_at":T,"message":{"role":"assistant","content":X},
// "done":false} of a chat, {"model":M,"created_at":T,"response":X,
// "done":false} of /api/generate. The views are of the line itself.
struct CommonLine {
    std::string_view created_at;
    std::string_view text; // still escaped, as it stands between its quotes
};

// False for any other line, and for one that jansson might not accept.
bool read_common_line(std::string_view line, LineKind kind, CommonLine &out);

// The same for the usual last line, or whole answer: it differs in "done":true
// with a reason and numbers behind it.
bool read_common_end(std::string_view line, LineKind kind, OllamaLine &out);

} // namespace llmproxy

#endif
