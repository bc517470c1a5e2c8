// Builds Ollama's messages from OpenAI's. Exactly one comes out for each that
// goes in: Ollama's own OpenAI layer makes one of every content part, which
// loses tool names and repeats roles.

#include "ollama_messages.h"

#include "llm_proxy/base/strings.h"

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <jansson.h>

#include "head.h"

namespace llmproxy
{

namespace
{

bool is_base64(std::string_view text)
{
    size_t end = text.size();
    while (end > 0 && text.size() - end < 2 && text[end - 1] == '=') {
        end--;
    }
    for (const char c : text.substr(0, end)) {
        const bool good = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                          (c >= '0' && c <= '9') || c == '+' || c == '/';
        if (!good) {
            return false;
        }
    }
    return !text.empty() && text.size() % 4 == 0;
}

// Takes `what` off the front of `text`, where a slash of the text may be
// escaped: PHP writes "image\/png".
bool take(std::string_view &text, std::string_view what)
{
    size_t at = 0;
    for (const char c : what) {
        if (c == '/' && at < text.size() && text[at] == '\\') {
            at++;
        }
        if (at >= text.size() || text[at] != c) {
            return false;
        }
        at++;
    }
    text.remove_prefix(at);
    return true;
}

// The part of a data URL behind its head, for the images Ollama reads.
bool take_image_head(std::string_view &url)
{
    constexpr std::string_view heads[] = {
        "data:image/jpeg;base64,", "data:image/jpg;base64,",
        "data:image/png;base64,", "data:image/webp;base64,", "data:;base64,"};
    for (const std::string_view head : heads) {
        if (take(url, head)) {
            return true;
        }
    }
    return false;
}

std::string without_blanks(std::string_view text)
{
    std::string out;
    for (const char c : text) {
        if (c != ' ' && (c < '\t' || c > '\r')) {
            out += c;
        }
    }
    return out;
}

json_t *new_string(std::string_view text)
{
    return json_stringn_nocheck(text.data(), text.size());
}

class MessageTranslator
{
public:
    MessageTranslator(const json_t *messages, Skeleton &skeleton, ApiError &err)
        : messages_(messages), skeleton_(skeleton), err_(err)
    {
    }
    [[nodiscard]] bool run(json_t *out);

private:
    [[nodiscard]] bool message(const json_t *in, json_t *out);
    [[nodiscard]] bool role(const json_t *in);
    [[nodiscard]] bool content(const json_t *in, json_t *out);
    [[nodiscard]] bool parts(const json_t *in, json_t *out);
    [[nodiscard]] bool part(const json_t *in, size_t index, bool &has_text,
                            std::string &text, json_t *images);
    [[nodiscard]] bool image(json_t *url, size_t index, json_t *images);
    [[nodiscard]] bool audio(json_t *data, size_t index, json_t *images);
    [[nodiscard]] bool base64(std::string_view text, size_t index,
                              json_t *images);
    void reasoning(const json_t *in, json_t *out);
    [[nodiscard]] bool tool_calls(const json_t *in, json_t *out);
    [[nodiscard]] bool tool_call(const json_t *in, size_t index, json_t *calls);
    [[nodiscard]] bool arguments(json_t *in, size_t index, json::Ptr &out);
    void tool_answer(const json_t *in, json_t *out);
    void note_tool_names();

    // "messages[3]" and what follows it.
    std::string place(std::string_view behind) const;
    std::string place_of(std::string_view behind, size_t index,
                         std::string_view last = {}) const;

    const json_t *messages_;
    Skeleton &skeleton_;
    ApiError &err_;
    size_t index_ = 0;
    std::string role_; // translated: system, user, assistant, tool
    // Views of the messages' strings. Filled when the first tool's answer
    // wants it: id of a call to the name of its function.
    std::unordered_map<std::string_view, std::string_view> tool_names_;
    bool tool_names_noted_ = false;
    size_t unfolded_ = 0; // bytes of long arguments that became a tree
};

std::string MessageTranslator::place(std::string_view behind) const
{
    std::string out = "messages[";
    append_u64(out, index_);
    out += ']';
    out.append(behind);
    return out;
}

std::string MessageTranslator::place_of(std::string_view behind, size_t index,
                                        std::string_view last) const
{
    std::string out = place(behind);
    out += '[';
    append_u64(out, index);
    out += ']';
    out.append(last);
    return out;
}

bool MessageTranslator::run(json_t *out)
{
    for (; index_ < json_array_size(messages_); index_++) {
        const json_t *in = json_array_get(messages_, index_);
        if (!json_is_object(in)) {
            return refuse(err_, ApiErrorKind::InvalidType,
                          "'" + place("") + "' must be an object.", place(""));
        }
        json_t *one = json_object();
        json_array_append_new(out, one);
        if (!message(in, one)) {
            return false;
        }
    }
    return true;
}

bool MessageTranslator::message(const json_t *in, json_t *out)
{
    if (!role(in)) {
        return false;
    }
    json_object_set_new(out, "role", new_string(role_));
    if (!content(in, out)) {
        return false;
    }
    if (role_ == "assistant") {
        reasoning(in, out);
        return tool_calls(in, out);
    }
    if (role_ == "tool") {
        tool_answer(in, out);
    }
    return true;
}

bool MessageTranslator::role(const json_t *in)
{
    role_ = to_lower(json::string_of(json::get(in, "role")));
    if (role_ == "developer") {
        role_ = "system";
    } else if (role_ == "function") {
        role_ = "tool";
    }
    if (role_ != "system" && role_ != "user" && role_ != "assistant" &&
        role_ != "tool") {
        return refuse(err_, ApiErrorKind::InvalidValue,
                      "'" + place(".role") +
                          "' must be system, developer, user, assistant or "
                          "tool.",
                      place(".role"));
    }
    return true;
}

bool MessageTranslator::content(const json_t *in, json_t *out)
{
    json_t *content = json::get(in, "content");
    if (json_is_string(content)) {
        json_object_set(out, "content", content);
        return true;
    }
    if (json_is_array(content)) {
        return parts(content, out);
    }
    const bool may_be_absent = role_ == "assistant" &&
                               (json::get(in, "tool_calls") != nullptr ||
                                json::get(in, "reasoning") != nullptr ||
                                json::get(in, "reasoning_content") != nullptr ||
                                json::get(in, "thinking") != nullptr);
    if (content != nullptr || !may_be_absent) {
        return refuse(err_, ApiErrorKind::InvalidRequest,
                      "invalid message content type", place(".content"));
    }
    json_object_set_new(out, "content", json_string(""));
    return true;
}

bool MessageTranslator::parts(const json_t *in, json_t *out)
{
    std::string text;
    bool has_text = false;
    json::Ptr images(json_array());
    for (size_t i = 0; i < json_array_size(in); i++) {
        if (!part(json_array_get(in, i), i, has_text, text, images.get())) {
            return false;
        }
    }
    json_object_set_new(out, "content", new_string(text));
    if (json_array_size(images.get()) > 0) {
        json_object_set_new(out, "images", images.release());
    }
    return true;
}

bool MessageTranslator::part(const json_t *in, size_t index, bool &has_text,
                             std::string &text, json_t *images)
{
    const std::string_view type = json::string_of(json::get(in, "type"));
    const json_t *words = nullptr;
    if (type == "text" || type == "input_text") {
        words = json::get(in, "text");
    } else if (type == "refusal" && role_ == "assistant") {
        words = json::get(in, "refusal");
    } else if (type == "image_url" || type == "input_image") {
        json_t *url = json::get(in, "image_url");
        return image(json_is_object(url) ? json::get(url, "url") : url, index,
                     images);
    } else if (type == "input_audio") {
        return audio(json::get(json::get(in, "input_audio"), "data"), index,
                     images);
    }
    if (!json_is_string(words)) {
        return refuse(err_, ApiErrorKind::InvalidRequest,
                      "invalid message format", place_of(".content", index));
    }
    if (has_text) {
        text += '\n';
    }
    has_text = true;
    text.append(json::string_of(words));
    return true;
}

bool MessageTranslator::image(json_t *url, size_t index, json_t *images)
{
    std::string_view text = json::string_of(url);
    std::string_view raw;
    const bool is_long = skeleton_.raw_of(text, raw);
    std::string_view data = is_long ? raw : text;
    if (take(data, "http://") || take(data, "https://")) {
        return refuse(err_, ApiErrorKind::InvalidRequest,
                      "image URLs are not currently supported, please use "
                      "base64 encoded data instead",
                      place_of(".content", index));
    }
    if (!take_image_head(data)) {
        return refuse(err_, ApiErrorKind::InvalidRequest, "invalid image input",
                      place_of(".content", index));
    }
    if (is_long) {
        // Megabytes are not looked at here; Ollama refuses what is no base64.
        json_array_append_new(images, new_string(skeleton_.stand_in(data)));
        return true;
    }
    return base64(data, index, images);
}

bool MessageTranslator::audio(json_t *data, size_t index, json_t *images)
{
    std::string_view raw;
    if (skeleton_.raw_of(json::string_of(data), raw)) {
        json_array_append(images, data);
        return true;
    }
    return base64(json::string_of(data), index, images);
}

bool MessageTranslator::base64(std::string_view text, size_t index,
                               json_t *images)
{
    const std::string data = without_blanks(text);
    if (!is_base64(data)) {
        return refuse(err_, ApiErrorKind::InvalidRequest, "invalid image input",
                      place_of(".content", index));
    }
    json_array_append_new(images, new_string(data));
    return true;
}

void MessageTranslator::reasoning(const json_t *in, json_t *out)
{
    for (const char *name : {"reasoning", "reasoning_content", "thinking"}) {
        json_t *text = json::get(in, name);
        if (json_is_string(text) && json_string_length(text) > 0) {
            json_object_set(out, "thinking", text);
            return;
        }
    }
}

bool MessageTranslator::tool_calls(const json_t *in, json_t *out)
{
    const json_t *calls = json::get(in, "tool_calls");
    if (calls == nullptr) {
        return true;
    }
    if (!json_is_array(calls)) {
        return refuse(err_, ApiErrorKind::InvalidType,
                      "'" + place(".tool_calls") + "' must be an array.",
                      place(".tool_calls"));
    }
    json::Ptr translated(json_array());
    for (size_t i = 0; i < json_array_size(calls); i++) {
        if (!tool_call(json_array_get(calls, i), i, translated.get())) {
            return false;
        }
    }
    if (json_array_size(translated.get()) > 0) {
        json_object_set_new(out, "tool_calls", translated.release());
    }
    return true;
}

bool MessageTranslator::tool_call(const json_t *in, size_t index, json_t *calls)
{
    const json_t *function = json::get(in, "function");
    json_t *name = json::get(function, "name");
    if (!json_is_string(name)) {
        const std::string where =
            place_of(".tool_calls", index, ".function.name");
        return refuse(err_, ApiErrorKind::InvalidType,
                      "'" + where + "' must be a string.", where);
    }
    json::Ptr arguments;
    if (!this->arguments(json::get(function, "arguments"), index, arguments)) {
        return false;
    }
    json_t *call = json_object();
    json_array_append_new(calls, call);
    json_t *id = json::get(in, "id");
    if (json_is_string(id) && json_string_length(id) > 0) {
        json_object_set(call, "id", id);
    }
    json_t *translated = json_object();
    json_object_set_new(call, "function", translated);
    json_object_set_new(translated, "index",
                        json_integer(static_cast<json_int_t>(index)));
    json_object_set(translated, "name", name);
    json_object_set_new(translated, "arguments", arguments.release());
    return true;
}

// OpenAI's arguments are JSON in a string, Ollama's are an object.
bool MessageTranslator::arguments(json_t *in, size_t index, json::Ptr &out)
{
    if (in == nullptr || (json_is_string(in) && json_string_length(in) == 0)) {
        out.reset(json_object());
        return true;
    }
    if (json_is_object(in)) {
        out.reset(json_incref(in));
        return true;
    }
    const std::string where =
        place_of(".tool_calls", index, ".function.arguments");
    json::Ptr unfolded;
    std::string_view text = json::string_of(in);
    std::string_view raw;
    Error ignored;
    if (skeleton_.raw_of(text, raw)) {
        unfolded_ += raw.size();
        if (unfolded_ > kMaxSkeleton) {
            return refuse(err_, ApiErrorKind::RequestTooLarge,
                          "The arguments of tool calls are over 4 MiB.", where);
        }
        std::string list = "[\"";
        list.append(raw);
        list += "\"]";
        if (json::parse(list, unfolded, ignored)) {
            text = json::string_of(json_array_get(unfolded.get(), 0));
        }
    }
    if (!json::parse_lenient(text, out, ignored) ||
        !json_is_object(out.get())) {
        return refuse(err_, ApiErrorKind::InvalidRequest,
                      "invalid tool call arguments", where);
    }
    return true;
}

void MessageTranslator::tool_answer(const json_t *in, json_t *out)
{
    const json_t *id = json::get(in, "tool_call_id");
    json_t *name = json::get(in, "name");
    if (json_is_string(name)) {
        json_object_set(out, "tool_name", name);
    } else if (json_is_string(id)) {
        note_tool_names();
        const auto found = tool_names_.find(json::string_of(id));
        if (found != tool_names_.end()) {
            json_object_set_new(out, "tool_name", new_string(found->second));
        }
    }
    if (json_is_string(id)) {
        json_object_set_new(out, "tool_call_id",
                            new_string(json::string_of(id)));
    }
}

void MessageTranslator::note_tool_names()
{
    if (tool_names_noted_) {
        return;
    }
    tool_names_noted_ = true;
    for (size_t i = 0; i < json_array_size(messages_); i++) {
        const json_t *calls =
            json::get(json_array_get(messages_, i), "tool_calls");
        for (size_t j = 0; j < json_array_size(calls); j++) {
            const json_t *call = json_array_get(calls, j);
            const std::string_view name =
                json::string_of(json::get(json::get(call, "function"), "name"));
            if (!name.empty()) {
                tool_names_[json::string_of(json::get(call, "id"))] = name;
            }
        }
    }
}

} // namespace

bool translate_messages(const json_t *messages, Skeleton &skeleton,
                        json::Ptr &out, ApiError &err)
{
    json::Ptr translated(json_array());
    MessageTranslator translator(messages, skeleton, err);
    if (!translator.run(translated.get())) {
        return false;
    }
    out = std::move(translated);
    return true;
}

} // namespace llmproxy
