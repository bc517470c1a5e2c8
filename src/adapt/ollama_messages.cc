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

#include "base64_input.h"
#include "head.h"
#include "wide_integers.h"

namespace llmproxy
{

namespace
{

json_t *new_string(std::string_view text)
{
    return json_stringn_nocheck(text.data(), text.size());
}

class MessageTranslator
{
public:
    MessageTranslator(Translation &t, const json_t *messages)
        : messages_(messages), skeleton_(t.skeleton), wide_mark_(t.wide_mark),
          err_(t.err)
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
    [[nodiscard]] bool image(const json_t *url, size_t index, json_t *images);
    [[nodiscard]] bool audio(const json_t *data, size_t index, json_t *images);
    void reasoning(const json_t *in, json_t *out);
    [[nodiscard]] bool tool_calls(const json_t *in, json_t *out);
    [[nodiscard]] bool function(const json_t *in, const json_t *id,
                                const std::string &where, json_t *calls);
    [[nodiscard]] bool arguments(json_t *in, const std::string &where,
                                 json::Ptr &out);
    void tool_answer(const json_t *in, json_t *out);
    void note_tool_names();

    // "messages[3]" and what follows it.
    std::string place(std::string_view behind) const;
    std::string place_of(std::string_view behind, size_t index) const;

    const json_t *messages_;
    Skeleton &skeleton_;
    std::string &wide_mark_;
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
    return item_of("messages", index_).append(behind);
}

std::string MessageTranslator::place_of(std::string_view behind,
                                        size_t index) const
{
    return item_of(place(behind), index);
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
                                json::get(in, "function_call") != nullptr ||
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

bool MessageTranslator::image(const json_t *url, size_t index, json_t *images)
{
    ClientText data = client_text(skeleton_, url);
    if (is_remote(data.text)) {
        return refuse(err_, ApiErrorKind::InvalidRequest,
                      "image URLs are not currently supported, please use "
                      "base64 encoded data instead",
                      place_of(".content", index));
    }
    return (take_image_head(data.text) &&
            append_base64_input(skeleton_, data, images)) ||
           refuse(err_, ApiErrorKind::InvalidRequest, "invalid image input",
                  place_of(".content", index));
}

bool MessageTranslator::audio(const json_t *data, size_t index, json_t *images)
{
    return append_base64_input(skeleton_, client_text(skeleton_, data),
                               images) ||
           refuse(err_, ApiErrorKind::InvalidRequest, "invalid audio input",
                  place_of(".content", index));
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
    if (calls != nullptr && !json_is_array(calls)) {
        return refuse(err_, ApiErrorKind::InvalidType,
                      "'" + place(".tool_calls") + "' must be an array.",
                      place(".tool_calls"));
    }
    json::Ptr translated(json_array());
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        if (!function(json::get(call, "function"), json::get(call, "id"),
                      place_of(".tool_calls", i) + ".function",
                      translated.get())) {
            return false;
        }
    }
    // What tool_calls was before there could be several. It has no id, and
    // the answer to it is of the role "function", by the name.
    const json_t *legacy = json::get(in, "function_call");
    if (legacy != nullptr &&
        !function(legacy, nullptr, place(".function_call"), translated.get())) {
        return false;
    }
    if (json_array_size(translated.get()) > 0) {
        json_object_set_new(out, "tool_calls", translated.release());
    }
    return true;
}

bool MessageTranslator::function(const json_t *in, const json_t *id,
                                 const std::string &where, json_t *calls)
{
    json_t *name = json::get(in, "name");
    if (!json_is_string(name)) {
        return refuse(err_, ApiErrorKind::InvalidType,
                      "'" + where + ".name' must be a string.",
                      where + ".name");
    }
    json::Ptr arguments;
    if (!this->arguments(json::get(in, "arguments"), where + ".arguments",
                         arguments)) {
        return false;
    }
    const size_t index = json_array_size(calls);
    json_t *call = json_object();
    json_array_append_new(calls, call);
    if (!json::string_of(id).empty()) {
        json_object_set_new(call, "id", new_string(json::string_of(id)));
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
bool MessageTranslator::arguments(json_t *in, const std::string &where,
                                  json::Ptr &out)
{
    if (in == nullptr || (json_is_string(in) && json_string_length(in) == 0)) {
        out.reset(json_object());
        return true;
    }
    if (json_is_object(in)) {
        out.reset(json_incref(in));
        return true;
    }
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
    if (!parse_wide(text, wide_mark_, out, ignored) ||
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

bool translate_messages(Translation &t, const json_t *messages, json::Ptr &out)
{
    json::Ptr translated(json_array());
    MessageTranslator translator(t, messages);
    if (!translator.run(translated.get())) {
        return false;
    }
    out = std::move(translated);
    return true;
}

} // namespace llmproxy
