// Writes text_completion objects, whole or in pieces, with the log
// probabilities in the form that OpenAI had before chats: parallel lists.

#include "completion_writer.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"
#include "llm_proxy/json/writer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <jansson.h>

namespace llmproxy
{

namespace
{

// What follows the text of nearly every piece.
constexpr std::string_view kCloseCommon =
    "\",\"logprobs\":null,\"finish_reason\":null}]}\n\n";

uint64_t count_code_points(std::string_view text)
{
    return static_cast<uint64_t>(
        std::count_if(text.begin(), text.end(), [](char c) {
            return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
        }));
}

// The same for the text of a common line, which holds no surrogate pairs.
uint64_t count_escaped(std::string_view text)
{
    uint64_t count = 0;
    while (!text.empty()) {
        const size_t plain = std::min(text.find('\\'), text.size());
        count += count_code_points(text.substr(0, plain));
        text.remove_prefix(plain);
        if (!text.empty()) {
            text.remove_prefix(text[1] == 'u' ? 6 : 2);
            count++;
        }
    }
    return count;
}

// What a token adds to the text. A part of a character has only `bytes`.
std::string token_text(const json_t *token)
{
    const json_t *bytes = json::get(token, "bytes");
    std::string out(json::string_of(json::get(token, "token")));
    if (json_is_array(bytes)) {
        out.clear();
        for (size_t i = 0; i < json_array_size(bytes); i++) {
            out +=
                static_cast<char>(json_integer_value(json_array_get(bytes, i)));
        }
    }
    return out;
}

// The first token of the line's text. Those of its thinking are in front; if
// the two cannot be told apart, it is the first of all.
size_t first_of_text(const OllamaLine &line)
{
    if (line.thinking.empty()) {
        return 0;
    }
    std::string_view rest = line.text;
    size_t at = json_array_size(line.logprobs);
    while (at > 0 && !rest.empty()) {
        const std::string token =
            token_text(json_array_get(line.logprobs, --at));
        if (!ends_with(rest, token)) {
            return 0;
        }
        rest.remove_suffix(token.size());
    }
    return rest.empty() ? at : 0;
}

void append_number(std::string &out, const json_t *value)
{
    if (json_is_number(value)) {
        json::append_dump(out, value);
    } else {
        out += "null";
    }
}

// {token: logprob}; of tokens that look the same the likeliest, which is the
// first.
void append_top(std::string &out, const json_t *top)
{
    if (json_array_size(top) == 0) {
        out += "null";
        return;
    }
    std::vector<std::string_view> seen;
    out += '{';
    for (size_t i = 0; i < json_array_size(top); i++) {
        const json_t *item = json_array_get(top, i);
        const std::string_view token =
            json::string_of(json::get(item, "token"));
        if (std::find(seen.begin(), seen.end(), token) != seen.end()) {
            continue;
        }
        out += seen.empty() ? "" : ",";
        seen.push_back(token);
        json::append_string(out, token);
        out += ':';
        append_number(out, json::get(item, "logprob"));
    }
    out += '}';
}

const char *finish_reason_of(const OllamaLine &line)
{
    return line.done_reason == "length" ? "length" : "stop";
}

} // namespace

void CompletionWriter::begin(const ClientRequest &request, const Wishes &wishes)
{
    frame_.begin(request, wishes, "cmpl-", "text_completion");
}

void CompletionWriter::begin_choice(Wishes &wishes)
{
    open_choice_ = "{\"index\":";
    append_u64(open_choice_, wishes.prompt);
    open_choice_ += ",\"text\":\"";
    text_head_ = frame_.head() + open_choice_;
    echo_ = std::move(wishes.echo);
    text_size_ = 0;
    first_ = wishes.prompt == 0;
}

void CompletionWriter::set_created(int64_t created_s)
{
    frame_.set_created(created_s);
    text_head_ = frame_.head() + open_choice_;
}

void CompletionWriter::write_echo(std::string &out)
{
    if (!echo_.empty()) {
        out += text_head_;
        out += echo_;
        out += kCloseCommon;
        frame_.count_event();
        echo_ = std::string();
    }
}

void CompletionWriter::common_chunk(std::string_view text, std::string &out)
{
    write_echo(out);
    if (text.empty()) {
        return;
    }
    out += text_head_;
    out.append(text);
    out += kCloseCommon;
    frame_.count_event();
    text_size_ += count_escaped(text);
}

void CompletionWriter::chunks(const OllamaLine &line, std::string &out)
{
    write_echo(out);
    const bool thinks = !line.thinking.empty();
    if (!line.text.empty() || (line.logprobs != nullptr && !thinks)) {
        write_event(line, nullptr, out);
    }
}

void CompletionWriter::end(const OllamaLine &line, bool last, std::string &out)
{
    write_echo(out);
    write_event(line, finish_reason_of(line), out);
    if (last) {
        frame_.end_stream(line, out);
    }
}

void CompletionWriter::write_event(const OllamaLine &line,
                                   const char *finish_reason, std::string &out)
{
    out += text_head_;
    append_text(line, out);
    close_choice(line, finish_reason, out);
    frame_.end_event(out);
    text_size_ += count_code_points(line.text);
}

void CompletionWriter::whole(const OllamaLine &line, bool last,
                             std::string &out)
{
    out += first_ ? text_head_ : ',' + open_choice_;
    out += echo_;
    echo_ = std::string();
    append_text(line, out);
    close_choice(line, finish_reason_of(line), out);
    if (last) {
        AnswerFrame::end_whole(line, out);
    }
}

// From the end of the text on.
void CompletionWriter::close_choice(const OllamaLine &line,
                                    const char *finish_reason, std::string &out)
{
    out += "\",\"logprobs\":";
    write_logprobs(line, out);
    out += ",\"finish_reason\":";
    if (finish_reason == nullptr) {
        out += "null}";
    } else {
        out += '"';
        out += finish_reason;
        out += "\"}";
    }
}

void CompletionWriter::write_logprobs(const OllamaLine &line,
                                      std::string &out) const
{
    const size_t first = first_of_text(line);
    const size_t end = json_array_size(line.logprobs);
    if (first == end) {
        out += "null";
        return;
    }
    std::string logprobs = "],\"token_logprobs\":[";
    std::string tops = "],\"top_logprobs\":[";
    std::string offsets = "],\"text_offset\":[";
    out += "{\"tokens\":[";
    uint64_t offset = text_size_;
    for (size_t i = first; i < end; i++) {
        if (i > first) {
            out += ',';
            logprobs += ',';
            tops += ',';
            offsets += ',';
        }
        const json_t *token = json_array_get(line.logprobs, i);
        json::append_string(out, json::string_of(json::get(token, "token")));
        append_number(logprobs, json::get(token, "logprob"));
        append_top(tops, json::get(token, "top_logprobs"));
        append_u64(offsets, offset);
        offset += count_code_points(token_text(token));
    }
    out += logprobs;
    out += tops;
    out += offsets;
    out += "]}";
}

} // namespace llmproxy
