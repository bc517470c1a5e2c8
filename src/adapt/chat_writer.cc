// Writes chat.completion and chat.completion.chunk objects. Member order and
// the members that are there although they are null follow OpenAI's.

#include "chat_writer.h"

#include "llm_proxy/base/ids.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/writer.h"

#include <jansson.h>

namespace llmproxy
{

namespace
{

// Bytes of a whole answer beside its frame and text, if it is no more.
constexpr size_t kAroundText = 256;
constexpr std::string_view kOpenDelta = "{\"index\":0,\"delta\":{";
// What follows the text of nearly every piece.
constexpr std::string_view kCloseCommon =
    "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";

const char *finish_reason(const OllamaLine &line, bool called_tools)
{
    if (line.done_reason == "length") {
        return "length";
    }
    const bool stopped = line.done_reason.empty() || line.done_reason == "stop";
    return stopped && called_tools ? "tool_calls" : "stop";
}

void set_if_absent(json_t *object, const char *key, json_t *owned)
{
    const json::Ptr value(owned);
    if (json_object_get(object, key) == nullptr) {
        json_object_set(object, key, value.get());
    }
}

// Clients want `bytes` and `top_logprobs` to be there; Ollama leaves them out.
void complete_logprobs(const json_t *list, bool with_top)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        set_if_absent(item, "bytes", json_null());
        if (with_top) {
            set_if_absent(item, "top_logprobs", json_array());
            complete_logprobs(json_object_get(item, "top_logprobs"), false);
        }
    }
}

void append_logprobs(const json_t *logprobs, std::string &out)
{
    out += ",\"logprobs\":";
    if (logprobs == nullptr) {
        out += "null";
        return;
    }
    complete_logprobs(logprobs, true);
    out += "{\"content\":";
    json::append_dump(out, logprobs);
    out += ",\"refusal\":null}";
}

} // namespace

void ChatWriter::begin(const ClientRequest &request, const Wishes &wishes)
{
    frame_.begin(request, wishes, "chatcmpl-",
                 wishes.stream ? "chat.completion.chunk" : "chat.completion");
    field_ = request.config.reasoning_field;
}

void ChatWriter::set_created(int64_t created_s)
{
    frame_.set_created(created_s);
    if (frame_.streams()) {
        common_head_.reserve(frame_.head().size() + kOpenDelta.size() + 16);
        common_head_ = frame_.head();
        common_head_ += kOpenDelta;
        common_head_ += "\"content\":\"";
    }
}

void ChatWriter::open_delta(std::string &out)
{
    out += frame_.head();
    out += kOpenDelta;
    if (first_) {
        out += "\"role\":\"assistant\",";
        first_ = false;
    }
}

void ChatWriter::close_delta(const json_t *logprobs, const char *finish_reason,
                             std::string &out)
{
    out += '}';
    append_logprobs(logprobs, out);
    out += ",\"finish_reason\":";
    if (finish_reason == nullptr) {
        out += "null";
    } else {
        out += '"';
        out += finish_reason;
        out += '"';
    }
    out += '}';
    frame_.end_event(out);
}

void ChatWriter::common_chunk(std::string_view text, std::string &out)
{
    if (text.empty() && !first_) {
        return;
    }
    if (first_) {
        open_delta(out);
        out += "\"content\":\"";
    } else {
        out += common_head_;
    }
    out.append(text);
    out += kCloseCommon;
    frame_.count_event();
}

void ChatWriter::reasoning(std::string_view text, std::string &out) const
{
    if (field_ != ReasoningField::ReasoningContent) {
        out += "\"reasoning\":";
        json::append_string(out, text);
    }
    if (field_ == ReasoningField::Both) {
        out += ',';
    }
    if (field_ != ReasoningField::Reasoning) {
        out += "\"reasoning_content\":";
        json::append_string(out, text);
    }
}

void ChatWriter::tool_calls(const OllamaLine &line, bool numbered,
                            std::string &out)
{
    const json_t *calls = line.tool_calls;
    out += "\"tool_calls\":[";
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        const json_t *function = json::get(call, "function");
        const json_t *arguments = json::get(function, "arguments");
        std::string id(json::string_of(json::get(call, "id")));
        if (id.empty()) {
            id = "call_";
            append_random_hex(id, 24);
        }
        out += i == 0 ? "{" : ",{";
        if (numbered) {
            // Ollama's own numbers may be all 0, or have gaps.
            out += "\"index\":";
            append_u64(out, tool_count_);
            out += ',';
        }
        tool_count_++;
        out += "\"id\":";
        json::append_string(out, id);
        out += ",\"type\":\"function\",\"function\":{\"name\":";
        json::append_string(out, json::string_of(json::get(function, "name")));
        out += ",\"arguments\":";
        json::append_string(
            out, arguments == nullptr ? "{}" : dump_exactly(line, arguments));
        out += "}}";
    }
    out += ']';
}

void ChatWriter::chunks(const OllamaLine &line, std::string &out)
{
    const bool has_reasoning = !line.thinking.empty();
    const bool has_rest = !line.text.empty() || line.tool_calls != nullptr;
    if (!first_ && !has_reasoning && !has_rest && line.logprobs == nullptr) {
        return;
    }
    const json_t *logprobs = line.logprobs;
    if (has_reasoning) {
        const bool first = first_;
        open_delta(out);
        if (first) {
            out += "\"content\":\"\",";
        }
        reasoning(line.thinking, out);
        close_delta(logprobs, nullptr, out);
        logprobs = nullptr;
        if (!has_rest) {
            return;
        }
    }
    open_delta(out);
    out += "\"content\":\"";
    append_text(line, out);
    out += '"';
    if (line.tool_calls != nullptr) {
        out += ',';
        tool_calls(line, true, out);
    }
    close_delta(logprobs, nullptr, out);
}

void ChatWriter::end(const OllamaLine &line, bool /*last*/, std::string &out)
{
    chunks(line, out);
    open_delta(out);
    close_delta(nullptr, finish_reason(line, tool_count_ > 0), out);
    frame_.end_stream(line, out);
}

void ChatWriter::whole(const OllamaLine &line, bool /*last*/, std::string &out)
{
    out.reserve(frame_.head().size() + line.text.size() + kAroundText);
    out += frame_.head();
    out += "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"";
    append_text(line, out);
    out += '"';
    if (!line.thinking.empty()) {
        out += ',';
        reasoning(line.thinking, out);
    }
    if (line.tool_calls != nullptr) {
        out += ',';
        tool_calls(line, false, out);
    }
    out += '}';
    append_logprobs(line.logprobs, out);
    out += ",\"finish_reason\":\"";
    out += finish_reason(line, line.tool_calls != nullptr);
    out += "\"}";
    AnswerFrame::end_whole(line, out);
}

} // namespace llmproxy
