// Reads the objects that Ollama answers with, one a line: by a tree in
// general, and by looking at the bytes for the one line that matters for
// speed. What the second way finds, the first would find too.

#include "ollama_line.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/string_content.h"

#include <algorithm>
#include <string>

#include <jansson.h>

#include "backend_error.h"
#include "head.h"
#include "wide_integers.h"

namespace llmproxy
{

namespace
{

// More tokens than any model will see; sums of them fit.
constexpr int64_t kMaxCount = 1000000000000;

json_t *filled_array(json_t *object, const char *key)
{
    json_t *value = json::get(object, key);
    return json_array_size(value) > 0 ? value : nullptr;
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
        if (hex_value(c) == -1) {
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
    size_t at = json::content_length(text);
    while (at < text.size() && text[at] == '\\') {
        const size_t size = escape_size(text.substr(at));
        if (size == 0) {
            return false;
        }
        at += size;
        at += json::content_length(text.substr(at));
    }
    if (at == text.size() || text[at] != '"') {
        return false;
    }
    out = text.substr(0, at);
    text.remove_prefix(at + 1);
    return true;
}

// What stands around the text of a common line.
struct Shape {
    std::string_view before;
    std::string_view after;
};

const Shape &shape_of(LineKind kind)
{
    static constexpr Shape chat = {
        ",\"message\":{\"role\":\"assistant\",\"content\":\"", "},\"done\":"};
    static constexpr Shape generate = {",\"response\":\"", ",\"done\":"};
    return kind == LineKind::Chat ? chat : generate;
}

bool take(std::string_view &text, std::string_view what)
{
    if (!starts_with(text, what)) {
        return false;
    }
    text.remove_prefix(what.size());
    return true;
}

// All of a line up to what it says of its end.
bool take_common(std::string_view &line, LineKind kind,
                 std::string_view &created_at, std::string_view &text)
{
    const Shape &shape = shape_of(kind);
    std::string_view model;
    return take(line, "{\"model\":\"") && take_string(line, model) &&
           take(line, ",\"created_at\":\"") && take_string(line, created_at) &&
           created_at.find('\\') == std::string_view::npos &&
           take(line, shape.before) && take_string(line, text) &&
           take(line, shape.after);
}

// A number of JSON that is no more than digits, of which an int64_t holds 18.
bool take_digits(std::string_view &text, int64_t &out)
{
    size_t size = 0;
    out = 0;
    while (size < text.size() && is_digit(text[size])) {
        out = size < 18 ? out * 10 + (text[size] - '0') : out;
        size++;
    }
    const bool zero_first = size > 1 && text[0] == '0';
    text.remove_prefix(size);
    return size > 0 && size <= 18 && !zero_first;
}

// ,"name":digits
bool take_count(std::string_view &line, OllamaLine &out)
{
    std::string_view name;
    int64_t count = 0;
    if (!take(line, ",\"") || !take_string(line, name) || !take(line, ":") ||
        !take_digits(line, count)) {
        return false;
    }
    if (name == "prompt_eval_count") {
        out.prompt_tokens = count;
    } else if (name == "eval_count") {
        out.completion_tokens = count;
    } else if (name == "prompt_eval_cached_count") {
        out.cached_tokens = count;
    } else {
        // An escape might be one of a NUL, which no name may hold.
        return ends_with(name, "_duration") &&
               name.find('\\') == std::string_view::npos;
    }
    return count <= kMaxCount;
}

// What makes no sense as a count is none.
void read_count(const json_t *root, const char *name, int64_t &out)
{
    int64_t count = 0;
    if (json::get_int(root, name, count) && count >= 0 && count <= kMaxCount) {
        out = count;
    }
}

} // namespace

bool read_common_line(std::string_view line, LineKind kind, CommonLine &out)
{
    return take_common(line, kind, out.created_at, out.text) &&
           line == "false}";
}

bool read_common_end(std::string_view line, LineKind kind, OllamaLine &out)
{
    OllamaLine end;
    if (!take_common(line, kind, end.created_at, end.text) ||
        !take(line, "true,\"done_reason\":\"") ||
        !take_string(line, end.done_reason) ||
        (end.done_reason != "stop" && end.done_reason != "length")) {
        return false;
    }
    while (starts_with(line, ",")) {
        if (!take_count(line, end)) {
            return false;
        }
    }
    end.answers = true;
    end.says_if_done = true;
    end.done = true;
    end.escaped = true;
    const bool whole = line == "}" || line == "}\n";
    if (whole) {
        out = std::move(end);
    }
    return whole;
}

std::string dump_exactly(const OllamaLine &line, const json_t *value)
{
    return without_marks(json::dump(value), line.wide_mark);
}

bool read_line(std::string_view text, LineKind kind, OllamaLine &out,
               ApiError &err)
{
    Error why;
    if (!parse_wide(text, out.wide_mark, out.root, why)) {
        return refuse(err, ApiErrorKind::BackendBadResponse,
                      "The backend's answer is not JSON that can be read: " +
                          why.message + ".");
    }
    json_t *root = out.root.get();
    if (json_object_size(root) == 0) {
        return refuse(err, ApiErrorKind::BackendBadResponse,
                      "The backend's answer is no JSON object, or an empty "
                      "one.");
    }
    const json_t *error = json::get(root, "error");
    if (error != nullptr) {
        err = map_ollama_text(json_is_string(error)
                                  ? std::string(json::string_of(error))
                                  : dump_exactly(out, root));
        return false;
    }
    // /api/generate holds beside `done` what a chat holds in its message.
    const bool chat = kind == LineKind::Chat;
    json_t *message = chat ? json::get(root, "message") : root;
    const json_t *said = json::get(message, chat ? "content" : "response");
    if (said != nullptr && !json_is_string(said)) {
        return refuse(err, ApiErrorKind::BackendBadResponse,
                      "The text of the backend's answer is no string.");
    }
    const json_t *done = json::get(root, "done");
    out.answers = chat ? json_is_object(message) : said != nullptr;
    out.says_if_done = done != nullptr;
    out.created_at = json::string_of(json::get(root, "created_at"));
    out.text = json::string_of(said);
    out.thinking = json::string_of(json::get(message, "thinking"));
    out.tool_calls = filled_array(message, "tool_calls");
    out.logprobs = filled_array(root, "logprobs");
    out.done_reason = json::string_of(json::get(root, "done_reason"));
    out.done = json_is_true(done) || !out.done_reason.empty();
    read_count(root, "prompt_eval_count", out.prompt_tokens);
    read_count(root, "eval_count", out.completion_tokens);
    read_count(root, "prompt_eval_cached_count", out.cached_tokens);
    return true;
}

} // namespace llmproxy
