// The parts of an answer that every endpoint's objects share. Member order and
// the members that are there although they are null follow OpenAI's.

#include "answer_writer.h"

#include "llm_proxy/base/ids.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/writer.h"

namespace llmproxy
{

namespace
{

constexpr std::string_view kEventEnd = "}\n\n";
constexpr size_t kIdDigits = 24;
// Bytes of an object up to its choices, beside its id and model.
constexpr size_t kFrame = 128;

void append_int(std::string &out, int64_t value)
{
    append_u64(out, value < 0 ? 0 : static_cast<uint64_t>(value));
}

void append_usage(const OllamaLine &line, std::string &out)
{
    out += ",\"usage\":{\"prompt_tokens\":";
    append_int(out, line.prompt_tokens);
    out += ",\"completion_tokens\":";
    append_int(out, line.completion_tokens);
    out += ",\"total_tokens\":";
    append_int(out, line.prompt_tokens + line.completion_tokens);
    if (line.cached_tokens >= 0) {
        out += ",\"prompt_tokens_details\":{\"cached_tokens\":";
        append_int(out, line.cached_tokens);
        out += '}';
    }
    out += '}';
}

} // namespace

void append_text(const OllamaLine &line, std::string &out)
{
    if (line.escaped) {
        out.append(line.text);
        return;
    }
    const size_t quote = out.size();
    json::append_string(out, line.text);
    out.erase(quote, 1);
    out.pop_back();
}

void AnswerFrame::begin(const ClientRequest &request, const Wishes &wishes,
                        const char *id_prefix, const char *object)
{
    json::append_string(model_, request.sent_model);
    id_ = id_prefix;
    append_random_hex(id_, kIdDigits);
    object_ = object;
    stream_ = wishes.stream;
    include_usage_ = wishes.include_usage;
}

void AnswerFrame::set_created(int64_t created_s)
{
    head_.reserve(kFrame + id_.size() + model_.size());
    head_ = stream_ ? "data: {\"id\":\"" : "{\"id\":\"";
    head_ += id_;
    head_ += "\",\"object\":\"";
    head_ += object_;
    head_ += "\",\"created\":";
    append_int(head_, created_s);
    head_ += ",\"model\":";
    head_ += model_;
    head_ += ",\"system_fingerprint\":\"fp_ollama\",\"choices\":[";
}

void AnswerFrame::end_event(std::string &out)
{
    out += ']';
    out += kEventEnd;
    events_++;
}

void AnswerFrame::end_stream(const OllamaLine &line, std::string &out)
{
    if (include_usage_) {
        out += head_;
        out += ']';
        append_usage(line, out);
        out += kEventEnd;
        events_++;
    }
    out += "data: [DONE]\n\n";
}

void AnswerFrame::end_whole(const OllamaLine &line, std::string &out)
{
    out += ']';
    append_usage(line, out);
    out += '}';
}

} // namespace llmproxy
