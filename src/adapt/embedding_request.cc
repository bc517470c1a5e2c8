// The table of the members of an embeddings request. Ollama embeds texts only,
// so what a client has turned into tokens is refused: it would be an embedding
// of something else.

#include "embedding_request.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include <jansson.h>

#include "head.h"
#include "ollama_members.h"
#include "ollama_options.h"

namespace llmproxy
{

namespace
{

constexpr size_t kMaxInputs = 2048; // as OpenAI's own
constexpr size_t kMaxQuoted = 64;   // of a client's value

bool is_token(const json_t *value)
{
    return json_is_integer(value) ||
           (json_is_array(value) && json_array_size(value) > 0 &&
            json_is_integer(json_array_get(value, 0)));
}

bool check_texts(Translation &t, const json_t *input)
{
    for (size_t i = 0; i < json_array_size(input); i++) {
        const json_t *item = json_array_get(input, i);
        if (json_is_string(item)) {
            continue;
        }
        // Where all are tokens it is the whole that is wrong.
        if (is_token(item)) {
            return unsupported(t, i == 0 ? "input" : item_of("input", i),
                               "token arrays are not supported; send text "
                               "(LangChain: check_embedding_ctx_length=False)");
        }
        return refuse(t.err, ApiErrorKind::InvalidType, "invalid input type",
                      item_of("input", i));
    }
    return true;
}

bool check_input(Translation &t)
{
    const json_t *input = json::get(t.root, "input");
    if (input == nullptr) {
        return refuse(t.err, ApiErrorKind::MissingParameter, "invalid input",
                      "input");
    }
    if (json_is_string(input)) {
        t.wishes.inputs = 1;
        return true;
    }
    t.wishes.inputs = json_array_size(input);
    if (!json_is_array(input)) {
        return refuse(t.err, ApiErrorKind::InvalidType, "invalid input",
                      "input");
    }
    if (t.wishes.inputs == 0) {
        return refuse(t.err, ApiErrorKind::InvalidValue, "invalid input",
                      "input");
    }
    // Tokens first: one long text is many of them.
    if (!check_texts(t, input)) {
        return false;
    }
    return t.wishes.inputs <= kMaxInputs ||
           refuse(t.err, ApiErrorKind::InvalidValue,
                  "'input' must hold at most 2048 texts.", "input");
}

// A text by itself is sent as a list of one: Ollama takes "" for a request to
// load the model.
bool translate_input(Translation &t, json::Ptr &out)
{
    json_t *input = json::get(t.root, "input");
    if (json_is_array(input)) {
        out.reset(json_incref(input));
    } else {
        out.reset(json_array());
        json_array_append(out.get(), input);
    }
    return true;
}

bool on_dimensions(Translation &t, const char *name, json_t *value)
{
    int64_t count = 0;
    if (!json::read_integer(value, count)) {
        return wrong_type(t, name, "an integer");
    }
    if (count < 1) {
        return refuse(t.err, ApiErrorKind::InvalidValue,
                      "'dimensions' must be at least 1.", name);
    }
    set_first(t, name, json_integer(count));
    return true;
}

bool on_encoding_format(Translation &t, const char *name, json_t *value)
{
    if (!json_is_string(value)) {
        return wrong_type(t, name, "a string");
    }
    std::string_view text = json::string_of(value);
    if (iequals(text, "float")) {
        return true;
    }
    if (iequals(text, "base64")) {
        t.wishes.embedding_format = EmbeddingFormat::Base64;
        return true;
    }
    (void)t.skeleton.raw_of(text, text);
    std::string message = "Invalid value for 'encoding_format' = ";
    message.append(text.substr(0, kMaxQuoted));
    message += ". Supported values: ['float', 'base64'].";
    return refuse(t.err, ApiErrorKind::InvalidValue, message, name);
}

// Of the options only some have to do with embeddings, and they may all stand
// in `options`; the others by themselves have no effect.
constexpr Row kRows[] = {
    {"model", on_checked_already}, {"input", on_checked_already},
    {"dimensions", on_dimensions}, {"encoding_format", on_encoding_format},
    {"options", on_options},       {"num_ctx", on_client_option},
    {"keep_alive", on_keep_alive}, {"truncate", on_switch},
};

constexpr NativeEndpoint kEmbedding = {
    "/api/embed",
    LineKind::None,
    "input",
    check_input,
    {kRows, std::size(kRows)},
    translate_input,
    nullptr,
};

} // namespace

bool translate_embedding_request(const ClientRequest &request,
                                 UpstreamRequest &out, Wishes &wishes,
                                 ApiError &err)
{
    return translate_request(kEmbedding, request, out, wishes, err);
}

} // namespace llmproxy
