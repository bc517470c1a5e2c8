#ifndef LLM_PROXY_SRC_ADAPT_OLLAMA_TRANSLATION_H
#define LLM_PROXY_SRC_ADAPT_OLLAMA_TRANSLATION_H

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/http/api_error.h"
#include "llm_proxy/json/value.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "embedding_writer.h"
#include "ollama_line.h"
#include "skeleton.h"

struct json_t;

namespace llmproxy
{

// What of a request the answer depends on.
struct Wishes {
    bool stream = false;
    bool include_usage = false;
    // How many answers it takes, one after the other, and which is next.
    size_t prompts = 1;
    size_t prompt = 0;
    // Reasoning was asked for as OpenAI's clients do it.
    bool reasoning = false;
    // It is left out: the model has none.
    bool without_reasoning = false;
    // What the text of the answer begins with: the inside of a JSON string.
    std::string echo;
    // What is embedded: how many texts, and how their vectors are written.
    size_t inputs = 0;
    EmbeddingFormat embedding_format = EmbeddingFormat::Float;
    // Names of members that were accepted but have no effect here, as
    // X-Proxy-Dropped-Params lists them; empty if there are none.
    std::string dropped;
};

// A translation under way.
struct Translation {
    const ClientRequest &request;
    Skeleton &skeleton;
    json_t *root;
    json_t *out;     // members of the new request, but for the first three
    json_t *options; // its "options"
    Wishes &wishes;
    std::vector<std::string> dropped; // as X-Proxy-Dropped-Params names them
    std::string wide_mark;            // see wide_integers.h
    ApiError &err;
};

// A handler gets a member that is there and not null. Where several members
// say the same, the first row of the table wins.
using Handler = bool (*)(Translation &t, const char *name, json_t *value);

struct Row {
    const char *name;
    Handler handler;
};

// All members of a request that have an effect, in the order in which they
// are checked; what is not named here is reported to the client as dropped.
struct Rows {
    const Row *first;
    size_t count;
    const Row *begin() const { return first; }
    const Row *end() const { return first + count; }
};

// How one of OpenAI's endpoints is served by one of Ollama's.
struct NativeEndpoint {
    const char *path;
    LineKind lines;
    // The member that says what to go on from, on both sides.
    const char *subject;
    // False if the subject is missing or is none; before the rows.
    bool (*check)(Translation &t);
    Rows rows;
    // Makes Ollama's subject of the client's; behind the rows.
    bool (*translate)(Translation &t, json::Ptr &out);
    // Does all of it for a request that is plain enough; nullptr if none is.
    bool (*plain)(const ClientRequest &request, UpstreamRequest &out,
                  Wishes &wishes);
};

// Fills method, path and body of `out`, which point into the client's body.
[[nodiscard]] bool translate_request(const NativeEndpoint &endpoint,
                                     const ClientRequest &request,
                                     UpstreamRequest &out, Wishes &wishes,
                                     ApiError &err);

bool wrong_type(Translation &t, const std::string &name, const char *wanted);
bool unsupported(Translation &t, const std::string &name, std::string message);
// Sets a member of the new request, unless one is there already.
void set_first(Translation &t, const char *name, json_t *owned);

} // namespace llmproxy

#endif
