// Reads the objects that Ollama answers with, one a line: by a tree in
// general, and by looking at the bytes for the one line that matters for
// speed. What the second way finds, the first would find too.

#include "ollama_line.h"

#include "llm_proxy/base/strings.h"

#include <string>

#include <jansson.h>

#include "backend_error.h"
#include "head.h"

namespace llmproxy
{

namespace
{

constexpr size_t kMaxQuoted = 1024; // of a line that nobody understands

json_t *filled_array(json_t *object, const char *key)
{
    json_t *value = json::get(object, key);
    return json_array_size(value) > 0 ? value : nullptr;
}

// Bytes of the valid UTF-8 sequence of several bytes at the front of `text`;
// 0 if it is none (RFC 3629).
size_t sequence_size(std::string_view text)
{
    const auto first = static_cast<unsigned char>(text[0]);
    if (first < 0xc2 || first > 0xf4) {
        return 0;
    }
    const size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (text.size() < size) {
        return 0;
    }
    const auto second = static_cast<unsigned char>(text[1]);
    const unsigned char low = first == 0xe0   ? 0xa0
                              : first == 0xf0 ? 0x90
                                              : 0x80;
    const unsigned char high = first == 0xed   ? 0x9f
                               : first == 0xf4 ? 0x8f
                                               : 0xbf;
    if (second < low || second > high) {
        return 0;
    }
    for (const char c : text.substr(2, size - 2)) {
        if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

bool is_hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
           (c >= 'A' && c <= 'F');
}

// Bytes of the escape at the front of `text`; 0 if it is none, or half of a
// surrogate pair (which Go never writes).
size_t escape_size(std::string_view text)
{
    if (text.size() < 2) {
        return 0;
    }
    if (text[1] != 'u') {
        return std::string_view("\"\\/bfnrt").find(text[1]) ==
                       std::string_view::npos
                   ? 0
                   : 2;
    }
    if (text.size() < 6) {
        return 0;
    }
    for (const char c : text.substr(2, 4)) {
        if (!is_hex_digit(c)) {
            return 0;
        }
    }
    const bool surrogate =
        (text[2] == 'd' || text[2] == 'D') && (text[3] > '7');
    return surrogate ? 0 : 6;
}

// Takes the inside of a JSON string and its closing quote off the front.
bool take_string(std::string_view &text, std::string_view &out)
{
    size_t at = 0;
    while (at < text.size()) {
        const auto byte = static_cast<unsigned char>(text[at]);
        size_t size = 1;
        if (byte == '"') {
            out = text.substr(0, at);
            text.remove_prefix(at + 1);
            return true;
        }
        if (byte < 0x20) {
            return false;
        }
        if (byte == '\\') {
            size = escape_size(text.substr(at));
        } else if (byte >= 0x80) {
            size = sequence_size(text.substr(at));
        }
        if (size == 0) {
            return false;
        }
        at += size;
    }
    return false;
}

bool take(std::string_view &text, std::string_view what)
{
    if (!starts_with(text, what)) {
        return false;
    }
    text.remove_prefix(what.size());
    return true;
}

} // namespace

bool read_common_line(std::string_view line, CommonLine &out)
{
    std::string_view model;
    return take(line, "{\"model\":\"") && take_string(line, model) &&
           take(line, ",\"created_at\":\"") &&
           take_string(line, out.created_at) &&
           take(line, ",\"message\":{\"role\":\"assistant\",\"content\":\"") &&
           take_string(line, out.content) && line == "},\"done\":false}";
}

bool read_chat_line(std::string_view text, ChatLine &out, ApiError &err)
{
    Error ignored;
    json::Ptr root;
    if (!json::parse_lenient(text, root, ignored) ||
        !json_is_object(root.get())) {
        return refuse(err, ApiErrorKind::BackendBadResponse,
                      "The backend's answer is not the JSON that Ollama "
                      "writes.");
    }
    const json_t *error = json::get(root.get(), "error");
    if (error != nullptr) {
        err = map_ollama_text(json_is_string(error)
                                  ? std::string(json::string_of(error))
                                  : json::dump(root.get()));
        return false;
    }
    json_t *message = json::get(root.get(), "message");
    const json_t *done = json::get(root.get(), "done");
    if (!json_is_object(message) && done == nullptr) {
        // Ollama 0.11.3 says {"error parsing tool call": "..."}.
        return refuse(err, ApiErrorKind::BackendError,
                      std::string(text.substr(0, kMaxQuoted)));
    }
    out.created_at = json::string_of(json::get(root.get(), "created_at"));
    out.content = json::string_of(json::get(message, "content"));
    out.thinking = json::string_of(json::get(message, "thinking"));
    out.tool_calls = filled_array(message, "tool_calls");
    out.logprobs = filled_array(root.get(), "logprobs");
    out.done_reason = json::string_of(json::get(root.get(), "done_reason"));
    out.done = json_is_true(done) || !out.done_reason.empty();
    json::get_int(root.get(), "prompt_eval_count", out.prompt_tokens);
    json::get_int(root.get(), "eval_count", out.completion_tokens);
    json::get_int(root.get(), "prompt_eval_cached_count", out.cached_tokens);
    out.root = std::move(root);
    return true;
}

} // namespace llmproxy
