// Turns what a backend says when it refuses into the one shape that clients
// know. The text is kept for the client, the backend's own type and number
// never are, and its 401 or 403 becomes our 502: the client's token was fine.

#include "backend_error.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <algorithm>
#include <string>

#include <jansson.h>

namespace llmproxy
{

namespace
{

constexpr size_t kMaxText = 1024; // of a message

// What an error body says, whichever of the known shapes it has.
struct Said {
    bool json = false; // it was a JSON object
    std::string message;
    std::string param;
    std::string type;
    int64_t code = 0;
};

bool contains(std::string_view text, std::string_view what)
{
    return text.find(what) != std::string_view::npos;
}

std::string text_of(const json_t *object, const char *key)
{
    return std::string(json::string_of(json::get(object, key)));
}

void read_members(const json_t *object, Said &out)
{
    out.message = text_of(object, "message");
    out.type = text_of(object, "type");
    out.param = text_of(object, "param");
    // pydantic's location of a body's member.
    if (starts_with(out.param, "body.")) {
        out.param.erase(0, 5);
    }
    json::get_int(object, "code", out.code);
}

Said read_openai_body(std::string_view body)
{
    Said out;
    json::Ptr root;
    Error ignored;
    if (!json::parse_lenient(body, root, ignored) ||
        !json_is_object(root.get())) {
        return out;
    }
    out.json = true;
    const json_t *error = json::get(root.get(), "error");
    if (json_is_object(error)) {
        read_members(error, out);
    } else if (json_is_string(error)) {
        out.message = json::string_of(error);
    } else {
        read_members(root.get(), out);
        if (out.message.empty()) {
            out.message = text_of(root.get(), "detail");
        }
    }
    return out;
}

// A runner's error reaches us as JSON inside the error text of Ollama; no
// client should have to read that.
Said unwrap(std::string_view text)
{
    Said out;
    if (starts_with(text, "{")) {
        out = read_openai_body(text);
    }
    if (out.message.empty()) {
        out = Said();
        out.message = text;
    }
    out.json = true;
    return out;
}

Said read_ollama_body(std::string_view body)
{
    json::Ptr root;
    Error ignored;
    if (json::parse_lenient(body, root, ignored)) {
        const json_t *error = json::get(root.get(), "error");
        if (json_is_string(error)) {
            return unwrap(json::string_of(error));
        }
        if (error != nullptr) {
            return unwrap(json::dump(root.get()));
        }
    }
    Said out;
    // A page of some proxy in between names hosts and says nothing.
    if (!starts_with(trim(body), "<")) {
        out.message = body;
    }
    return out;
}

ApiError make(ApiErrorKind kind, std::string message)
{
    ApiError error;
    error.kind = kind;
    error.message = std::move(message);
    return error;
}

std::string status_text(int status)
{
    std::string out = "The backend answered with status ";
    append_u64(out, static_cast<uint64_t>(status));
    out += '.';
    return out;
}

ApiError auth_error(std::string_view backend)
{
    std::string text = "The ";
    text.append(backend);
    text += " backend rejected the proxy's credentials.";
    ApiError error = make(ApiErrorKind::BackendAuth, text);
    error.no_retry = true;
    return error;
}

// Statuses that say all by themselves, with or without a body in JSON.
bool is_status_enough(int status)
{
    return status == 429 || status == 503 || status == 504;
}

ApiErrorKind openai_kind(int status, const Said &said)
{
    switch (status) {
    case 400:
        if (said.type == "exceed_context_size_error" ||
            contains(said.message, "maximum context length") ||
            contains(said.message, "max_model_len")) {
            return ApiErrorKind::ContextLengthExceeded;
        }
        return ApiErrorKind::InvalidRequest;
    case 404:
        return said.type == "NotFoundError" ? ApiErrorKind::ModelNotFound
                                            : ApiErrorKind::InvalidRequest;
    case 429:
        return ApiErrorKind::BackendRateLimited;
    case 501:
        return ApiErrorKind::NotImplemented;
    case 502:
        return ApiErrorKind::BackendError;
    case 503:
        return ApiErrorKind::BackendBusy;
    case 504:
        return ApiErrorKind::BackendTimeout;
    default:
        return status < 500 ? ApiErrorKind::InvalidRequest
                            : ApiErrorKind::BackendFailed;
    }
}

ApiError map_openai(const Said &said, const BackendRefusal &refusal)
{
    const int status = refusal.status;
    if (status == 401 || status == 403) {
        return auth_error(refusal.backend);
    }
    if (!said.json && !is_status_enough(status)) {
        return make(ApiErrorKind::BackendBadResponse,
                    "The backend answered with an error that is not JSON.");
    }
    ApiError error = make(openai_kind(status, said), said.message);
    error.param = said.param;
    error.retry_after_s = refusal.retry_after_s;
    // A 422 would be retried by some clients; it is a 400 in other clothes.
    error.status = status == 422 ? 400 : status;
    if (error.kind == ApiErrorKind::ContextLengthExceeded &&
        error.param.empty()) {
        error.param = "messages";
    }
    if (error.message.empty()) {
        error.message = status_text(status);
    }
    return error;
}

// What Ollama's statuses mean where the text does not matter.
ApiErrorKind kind_of_status(int status)
{
    switch (status) {
    case 400:
    case 413:
        return ApiErrorKind::InvalidRequest;
    case 408:
    case 504:
        return ApiErrorKind::BackendTimeout;
    case 429:
        return ApiErrorKind::BackendRateLimited;
    case 500:
        return ApiErrorKind::BackendFailed;
    case 501:
        return ApiErrorKind::UnsupportedModel;
    case 503:
        return ApiErrorKind::BackendBusy;
    default:
        return ApiErrorKind::BackendError;
    }
}

bool is_context_error(const Said &said)
{
    return said.type == "exceed_context_size_error" ||
           contains(said.message, "context length") ||
           contains(said.message, "exceeds the available context size");
}

ApiErrorKind ollama_kind(int status, const Said &said)
{
    if ((status == 400 || status == 500) && is_context_error(said)) {
        return ApiErrorKind::ContextLengthExceeded;
    }
    if (status == 404 && contains(said.message, "model") &&
        contains(said.message, "not found")) {
        return ApiErrorKind::ModelNotFound;
    }
    if (status == 500 && contains(said.message, "image input is not "
                                                "supported")) {
        return ApiErrorKind::InvalidRequest;
    }
    return kind_of_status(status);
}

ApiError map_ollama(const Said &said, int status)
{
    ApiError error = make(ollama_kind(status, said), printable(said.message));
    if (status == 413) {
        error.status = status;
    }
    // The same seed fails in the same way again.
    error.no_retry = contains(said.message, "invalid tool call arguments");
    return error;
}

} // namespace

ApiError map_openai_error(const BackendRefusal &refusal)
{
    return map_openai(read_openai_body(refusal.body), refusal);
}

bool reports_error(std::string_view json)
{
    json::Ptr root;
    Error ignored;
    if (!json::parse_lenient(json, root, ignored)) {
        return true;
    }
    const json_t *error = json_object_get(root.get(), "error");
    return error == nullptr || (!json_is_null(error) && !json_is_false(error));
}

ApiError map_openai_event(std::string_view json, std::string_view backend)
{
    const Said said = read_openai_body(json);
    BackendRefusal refusal;
    refusal.status = said.code >= 400 && said.code <= 599
                         ? static_cast<int>(said.code)
                         : 502;
    refusal.backend = backend;
    return map_openai(said, refusal);
}

ApiError map_ollama_error(const BackendRefusal &refusal)
{
    const Said said = read_ollama_body(refusal.body);
    const int status = refusal.status;
    if (!said.json && (status == 404 || status == 405)) {
        ApiError error = make(ApiErrorKind::BackendBadResponse,
                              "The backend does not know Ollama's API; check "
                              "its base URL.");
        error.no_retry = true;
        return error;
    }
    // Its words on this may hold the key that it was sent.
    if (status == 401 || status == 403) {
        return auth_error(refusal.backend);
    }
    ApiError error = map_ollama(said, status);
    error.retry_after_s = error.no_retry ? 0 : refusal.retry_after_s;
    if (error.message.empty()) {
        error.message = "upstream returned status ";
        append_u64(error.message, static_cast<uint64_t>(status));
    }
    return error;
}

ApiError map_ollama_text(std::string_view text)
{
    return map_ollama(unwrap(text), 500);
}

ApiError unfinished_error()
{
    ApiError error = make(ApiErrorKind::BackendError,
                          "the backend ended its answer without finishing it");
    // It would end in the same way again.
    error.no_retry = true;
    return error;
}

std::string printable(std::string_view text)
{
    size_t size = std::min(text.size(), kMaxText);
    // Never inside of a UTF-8 sequence.
    while (size > 0 && size < text.size() &&
           (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) {
        size--;
    }
    std::string out(trim(text.substr(0, size)));
    for (char &c : out) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
            c = ' ';
        }
    }
    return out;
}

} // namespace llmproxy
