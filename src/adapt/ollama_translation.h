#ifndef LLM_PROXY_SRC_ADAPT_OLLAMA_TRANSLATION_H
#define LLM_PROXY_SRC_ADAPT_OLLAMA_TRANSLATION_H

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/http/api_error.h"

#include <string>
#include <string_view>
#include <vector>

#include "ollama_request.h"

struct json_t;

namespace llmproxy
{

// A translation under way.
struct Translation {
    const ClientRequest &request;
    json_t *root;
    json_t *out;     // members of the new request, but for the first three
    json_t *options; // its "options"
    ChatWishes &wishes;
    std::vector<std::string_view> dropped; // views of root's keys
    ApiError &err;
};

// A handler gets a member that is there and not null. Where several members
// say the same, the first row of the table wins.
using Handler = bool (*)(Translation &t, const char *name, json_t *value);

bool wrong_type(Translation &t, const std::string &name, const char *wanted);
bool unsupported(Translation &t, const std::string &name, std::string message);
// Sets a member of the new request, unless one is there already.
void set_first(Translation &t, const char *name, json_t *owned);

// Handlers of their own file.
bool on_tools(Translation &t, const char *name, json_t *value);
bool on_tool_choice(Translation &t, const char *name, json_t *value);

} // namespace llmproxy

#endif
