#ifndef LLM_PROXY_SRC_ADAPT_KEEP_ALIVE_H
#define LLM_PROXY_SRC_ADAPT_KEEP_ALIVE_H

#include <cstdint>

struct json_t;

namespace llmproxy
{

// How long Ollama keeps a model loaded: a number of seconds, or a duration as
// Go reads it ("5m", "1h30m"); negative is for ever, kForeverMs. False for
// anything else, such as "300", which Ollama takes for nonsense.
[[nodiscard]] bool read_keep_alive(const json_t *value, int64_t &out_ms);
// The other way; the caller owns it.
json_t *make_keep_alive(int64_t ms);

} // namespace llmproxy

#endif
