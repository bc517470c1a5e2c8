#ifndef LLM_PROXY_SRC_ADAPT_CHAT_WRITER_H
#define LLM_PROXY_SRC_ADAPT_CHAT_WRITER_H

#include "llm_proxy/config/settings.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "ollama_line.h"

namespace llmproxy
{

// Writes one chat's answer in OpenAI's words: the events of a stream, or the
// one object. Appends only.
class ChatWriter
{
public:
    // Before anything else, once.
    void begin(std::string_view model, ReasoningField field, bool stream);
    // With the first line: all chunks carry the time of the first.
    void set_created(int64_t created_s);
    bool is_created() const { return !head_.empty(); }

    // The events of one line, but for what its end means. Nothing for a line
    // that says nothing, unless it is the first.
    void chunks(const ChatLine &line, std::string &out);
    // The same for a common line; `content` is still escaped.
    void common_chunk(std::string_view content, std::string &out);
    // The end of a stream: finish reason, usage if asked for, [DONE].
    void end(const ChatLine &line, bool include_usage, std::string &out);

    // The whole answer of a chat that is not streamed.
    void completion(const ChatLine &line, std::string &out);

    uint64_t events() const { return events_; }

private:
    void open_delta(std::string &out);
    void close_delta(const json_t *logprobs, const char *finish_reason,
                     std::string &out);
    void reasoning(std::string_view text, std::string &out) const;
    void tool_calls(const ChatLine &line, bool numbered, std::string &out);

    std::string model_; // as a JSON string
    ReasoningField field_ = ReasoningField::Reasoning;
    bool stream_ = false;
    std::string id_;
    std::string head_;        // of every event, up to the choices
    std::string common_head_; // of nearly every event, up to the text
    bool first_ = true;
    uint64_t tool_count_ = 0;
    uint64_t events_ = 0;
};

} // namespace llmproxy

#endif
