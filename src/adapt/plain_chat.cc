// The chat request that needs no translation but of its frame. Reads a body
// that the scanner has found to be JSON already, and gives up at the first
// thing that is not plain: it must never decide what the general way would
// decide otherwise.

#include "plain_chat.h"

#include "llm_proxy/json/string_content.h"
#include "llm_proxy/json/writer.h"

#include <iterator>
#include <string>
#include <string_view>

namespace llmproxy
{

namespace
{

// So many digits survive a double and fit into 64 bits.
constexpr size_t kMaxDigits = 15;
// Bytes of a native request beside its model and messages, mostly.
constexpr size_t kFrame = 256;

bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

// What is left of a JSON text.
class Rest
{
public:
    explicit Rest(std::string_view text) : text_(text) {}

    const char *at()
    {
        while (!text_.empty() && is_blank(text_[0])) {
            text_.remove_prefix(1);
        }
        return text_.data();
    }

    bool take(char c)
    {
        at();
        if (text_.empty() || text_[0] != c) {
            return false;
        }
        text_.remove_prefix(1);
        return true;
    }

    // A string's inside, as it is escaped.
    bool take_text(std::string_view &out)
    {
        if (!take('"')) {
            return false;
        }
        size_t end = json::content_length(text_);
        while (end + 1 < text_.size() && text_[end] == '\\') {
            end += 2;
            end += json::content_length(text_.substr(end));
        }
        if (end >= text_.size() || text_[end] != '"') {
            return false;
        }
        out = text_.substr(0, end);
        text_.remove_prefix(end + 1);
        return true;
    }

    // A name that is spelled without escapes.
    bool take_name(std::string_view &out)
    {
        return take_text(out) && out.find('\\') == out.npos;
    }

    // A number or a literal.
    bool take_word(std::string_view &out)
    {
        at();
        size_t end = 0;
        while (end < text_.size() && text_[end] != ',' && text_[end] != '}' &&
               !is_blank(text_[end])) {
            end++;
        }
        out = text_.substr(0, end);
        text_.remove_prefix(end);
        return end > 0;
    }

    bool take_switch(bool &out)
    {
        std::string_view word;
        if (!take_word(word)) {
            return false;
        }
        out = word == "true";
        return out || word == "false";
    }

private:
    std::string_view text_;
};

enum class Setting { Number, Integer, Count };

// Of two that mean the same option, the first wins.
constexpr struct {
    std::string_view name;
    Setting kind;
    std::string_view option;
} kSettings[] = {
    {"temperature", Setting::Number, "temperature"},
    {"top_p", Setting::Number, "top_p"},
    {"seed", Setting::Integer, "seed"},
    {"frequency_penalty", Setting::Number, "frequency_penalty"},
    {"presence_penalty", Setting::Number, "presence_penalty"},
    {"max_completion_tokens", Setting::Count, "num_predict"},
    {"max_tokens", Setting::Count, "num_predict"},
};

struct PlainChat {
    std::string_view messages;
    std::string_view settings[std::size(kSettings)]; // empty = absent
    bool stream = false;
    bool include_usage = false;
};

// `word` is a number of JSON.
bool is_plain_number(std::string_view word, Setting kind)
{
    if (word.size() > kMaxDigits) {
        return false;
    }
    const bool integer = word.find_first_not_of("-0123456789") == word.npos;
    switch (kind) {
    case Setting::Number:
        return word.find_first_not_of("-.0123456789") == word.npos;
    case Setting::Integer:
        return integer;
    case Setting::Count:
        return integer && word[0] != '-' && word[0] != '0';
    }
    return false;
}

bool read_setting(Rest &rest, std::string_view name, PlainChat &chat)
{
    for (size_t i = 0; i < std::size(kSettings); i++) {
        if (name == kSettings[i].name) {
            std::string_view &word = chat.settings[i];
            return rest.take_word(word) &&
                   is_plain_number(word, kSettings[i].kind);
        }
    }
    return false;
}

void append_options(const PlainChat &chat, std::string &out)
{
    std::string_view before = ",\"options\":{\"";
    std::string_view last;
    for (size_t i = 0; i < std::size(kSettings); i++) {
        const std::string_view option = kSettings[i].option;
        if (chat.settings[i].empty() || option == last) {
            continue;
        }
        out += before;
        out += option;
        out += "\":";
        out += chat.settings[i];
        before = ",\"";
        last = option;
    }
    if (!last.empty()) {
        out += '}';
    }
}

// {"role": ..., "content": "..."} in either order, and nothing else.
bool read_message(Rest &rest)
{
    bool role = false;
    bool content = false;
    if (!rest.take('{')) {
        return false;
    }
    do {
        std::string_view name;
        std::string_view text;
        if (!rest.take_name(name) || !rest.take(':') || !rest.take_text(text)) {
            return false;
        }
        if (name == "content" && !content) {
            content = true;
        } else if (name == "role" && !role &&
                   (text == "user" || text == "assistant" ||
                    text == "system")) {
            role = true;
        } else {
            return false;
        }
    } while (rest.take(','));
    return rest.take('}') && role && content;
}

bool read_messages(Rest &rest, std::string_view &out)
{
    const char *begin = rest.at();
    if (!rest.take('[')) {
        return false;
    }
    do {
        if (!read_message(rest)) {
            return false;
        }
    } while (rest.take(','));
    if (!rest.take(']')) {
        return false;
    }
    out = {begin, static_cast<size_t>(rest.at() - begin)};
    return true;
}

bool read_stream_options(Rest &rest, PlainChat &chat)
{
    std::string_view name;
    return rest.take('{') && rest.take_name(name) && name == "include_usage" &&
           rest.take(':') && rest.take_switch(chat.include_usage) &&
           rest.take('}');
}

bool read_member(Rest &rest, PlainChat &chat)
{
    std::string_view name;
    std::string_view model;
    if (!rest.take_name(name) || !rest.take(':')) {
        return false;
    }
    if (name == "model") {
        return rest.take_text(model);
    }
    if (name == "messages") {
        return read_messages(rest, chat.messages);
    }
    if (name == "stream") {
        return rest.take_switch(chat.stream);
    }
    if (name == "stream_options") {
        return read_stream_options(rest, chat);
    }
    return read_setting(rest, name, chat);
}

bool read_chat(std::string_view body, PlainChat &chat)
{
    Rest rest(body);
    if (!rest.take('{')) {
        return false;
    }
    do {
        if (!read_member(rest, chat)) {
            return false;
        }
    } while (rest.take(','));
    return !chat.messages.empty();
}

} // namespace

bool translate_plain_chat(const ClientRequest &request, UpstreamRequest &out,
                          Wishes &wishes)
{
    const Config &config = request.config;
    PlainChat chat;
    // What an operator adds is for the general way to merge, and what is long
    // for the helper.
    if (request.body.size() > kLongWork || request.facts.lone_surrogate ||
        config.ollama_default_options != nullptr ||
        config.ollama_keep_alive_ms || !read_chat(request.body, chat)) {
        return false;
    }
    wishes.stream = chat.stream;
    wishes.include_usage = chat.include_usage;
    std::string &text = out.own;
    text.reserve(kFrame + request.model.size() + chat.messages.size());
    text = "{\"model\":";
    json::append_string(text, request.model);
    text += ",\"messages\":";
    text += chat.messages;
    text += chat.stream ? ",\"stream\":true" : ",\"stream\":false";
    if (!config.ollama_truncate) {
        text += ",\"truncate\":false";
    }
    append_options(chat, text);
    text += '}';
    out.body = {text};
    return true;
}

} // namespace llmproxy
