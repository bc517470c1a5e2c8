// Reads the objects that Ollama answers with, one a line: by a tree in
// general, and by looking at the bytes for the one line that matters for
// speed. What the second way finds, the first would find too.

#include "ollama_line.h"

#include "llm_proxy/base/ids.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <string>

#include <jansson.h>

#include "backend_error.h"
#include "head.h"

namespace llmproxy
{

namespace
{

constexpr size_t kMaxQuoted = 1024; // of a line that nobody understands
// More tokens than any model will see; sums of them fit.
constexpr int64_t kMaxCount = 1000000000000;

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

// A byte of a string that stands for itself. As a signed one it is above the
// control bytes in one comparison: those from 0x80 on are below 0.
bool is_plain(char c)
{
    return static_cast<signed char>(c) >= 0x20 && c != '"' && c != '\\';
}

// Takes the inside of a JSON string and its closing quote off the front.
bool take_string(std::string_view &text, std::string_view &out)
{
    const char *bytes = text.data();
    const size_t end = text.size();
    size_t at = 0;
    for (;;) {
        while (at < end && is_plain(bytes[at])) {
            at++;
        }
        if (at == end) {
            return false;
        }
        if (text[at] == '"') {
            break;
        }
        const size_t size = text[at] == '\\' ? escape_size(text.substr(at))
                                             : sequence_size(text.substr(at));
        if (size == 0) {
            return false;
        }
        at += size;
    }
    out = text.substr(0, at);
    text.remove_prefix(at + 1);
    return true;
}

// Behind the closing quote of the string whose inside begins at `at`. What
// stands in it is for the parser to judge.
size_t end_of_string(std::string_view text, size_t at)
{
    while ((at = text.find_first_of("\"\\", at)) != std::string_view::npos) {
        if (text[at] == '"') {
            return at + 1;
        }
        at += 2;
    }
    return text.size();
}

// The first integer at or behind `at`, outside strings, that may not fit into
// 64 bits; empty if there is none.
std::string_view find_wide_integer(std::string_view text, size_t at)
{
    constexpr std::string_view number_bytes = "0123456789+-.eE";
    constexpr size_t wide_digits = 19;
    while (at < text.size()) {
        if (text[at] == '"') {
            at = end_of_string(text, at + 1);
            continue;
        }
        const size_t end =
            std::min(text.find_first_not_of(number_bytes, at), text.size());
        const std::string_view number = text.substr(at, end - at);
        const size_t sign = starts_with(number, "-") ? 1 : 0;
        if (number.size() - sign >= wide_digits && number[sign] != '0' &&
            number.find_first_of("+-.eE", sign) == std::string_view::npos) {
            return number;
        }
        at = std::max(end, at + 1);
    }
    return {};
}

// Ollama passes the arguments of tool calls through a float64 and writes that
// in full, where jansson holds no more than 64 bits: such integers become
// strings with a random mark in front.
std::string quote_wide_integers(std::string_view text, const std::string &mark)
{
    std::string out;
    size_t at = 0;
    for (;;) {
        const std::string_view wide = find_wide_integer(text, at);
        if (wide.empty()) {
            break;
        }
        const auto begin = static_cast<size_t>(wide.data() - text.data());
        out.append(text.substr(at, begin - at));
        out += '"';
        out += mark;
        out.append(wide);
        out += '"';
        at = begin + wide.size();
    }
    out.append(text.substr(at));
    return out;
}

bool parse_line(std::string_view text, OllamaLine &out, Error &why)
{
    constexpr size_t mark_digits = 24;
    if (json::parse_lenient(text, out.root, why)) {
        return true;
    }
    if (find_wide_integer(text, 0).empty()) {
        return false;
    }
    append_random_hex(out.wide_mark, mark_digits);
    const std::string quoted = quote_wide_integers(text, out.wide_mark);
    return json::parse_lenient(quoted, out.root, why);
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
    std::string text = json::dump(value);
    if (line.wide_mark.empty()) {
        return text;
    }
    const std::string mark = '"' + line.wide_mark;
    std::string out;
    size_t at = 0;
    size_t found = 0;
    while ((found = text.find(mark, at)) != std::string::npos) {
        out.append(text, at, found - at);
        const size_t begin = found + mark.size();
        const size_t end = text.find('"', begin);
        out.append(text, begin, end - begin);
        at = end + 1;
    }
    out.append(text, at);
    return out;
}

bool read_line(std::string_view text, LineKind kind, OllamaLine &out,
               ApiError &err)
{
    Error why;
    if (!parse_line(text, out, why)) {
        return refuse(err, ApiErrorKind::BackendBadResponse,
                      "The backend's answer is not JSON that can be read: " +
                          why.message + ".");
    }
    json_t *root = out.root.get();
    if (!json_is_object(root)) {
        return refuse(err, ApiErrorKind::BackendBadResponse,
                      "The backend's answer is no JSON object.");
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
    const json_t *done = json::get(root, "done");
    const bool answers = chat ? json_is_object(message) : said != nullptr;
    if (!answers && done == nullptr) {
        // Ollama 0.11.3 says {"error parsing tool call": "..."}.
        return refuse(err, ApiErrorKind::BackendError,
                      std::string(text.substr(0, kMaxQuoted)));
    }
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
