#ifndef LLM_PROXY_SRC_ADAPT_OLLAMA_MEMBERS_H
#define LLM_PROXY_SRC_ADAPT_OLLAMA_MEMBERS_H

#include "ollama_translation.h"

struct json_t;

namespace llmproxy
{

// Handlers of the members that mean the same in every request to a generating
// endpoint, named after what they read.

// What was checked before the rows, or is none of their business.
bool on_checked_already(Translation &t, const char *name, json_t *value);
bool on_stream(Translation &t, const char *name, json_t *value);
bool on_stream_options(Translation &t, const char *name, json_t *value);
bool on_max_tokens(Translation &t, const char *name, json_t *value);
// One of Ollama's options by its own name.
bool on_option(Translation &t, const char *name, json_t *value);
// An option that is Ollama's own and stands beside OpenAI's members.
bool on_client_option(Translation &t, const char *name, json_t *value);
bool on_options(Translation &t, const char *name, json_t *value);
bool on_response_format(Translation &t, const char *name, json_t *value);
bool on_format(Translation &t, const char *name, json_t *value);
bool on_think(Translation &t, const char *name, json_t *value);
bool on_reasoning(Translation &t, const char *name, json_t *value);
bool on_reasoning_effort(Translation &t, const char *name, json_t *value);
// How many answers: one.
bool on_n(Translation &t, const char *name, json_t *value);
bool on_logit_bias(Translation &t, const char *name, json_t *value);
bool on_keep_alive(Translation &t, const char *name, json_t *value);
// A boolean that Ollama has by the same name.
bool on_switch(Translation &t, const char *name, json_t *value);

} // namespace llmproxy

#endif
