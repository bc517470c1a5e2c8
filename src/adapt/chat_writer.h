#ifndef LLM_PROXY_SRC_ADAPT_CHAT_WRITER_H
#define LLM_PROXY_SRC_ADAPT_CHAT_WRITER_H

#include "llm_proxy/config/settings.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "answer_writer.h"

namespace llmproxy
{

// chat.completion and chat.completion.chunk. A line that says nothing has no
// event, unless it is the first.
class ChatWriter final : public AnswerWriter
{
public:
    void begin(const ClientRequest &request, const Wishes &wishes) override;
    void begin_choice(Wishes & /*wishes*/) override {}
    void set_created(int64_t created_s) override;
    size_t lead() const override { return 0; }
    void chunks(const OllamaLine &line, std::string &out) override;
    void common_chunk(std::string_view text, std::string &out) override;
    void end(const OllamaLine &line, bool last, std::string &out) override;
    void whole(const OllamaLine &line, bool last, std::string &out) override;
    uint64_t events() const override { return frame_.events(); }

private:
    void open_delta(std::string &out);
    void close_delta(const json_t *logprobs, const char *finish_reason,
                     std::string &out);
    void reasoning(std::string_view text, std::string &out) const;
    void tool_calls(const OllamaLine &line, bool numbered, std::string &out);

    AnswerFrame frame_;
    ReasoningField field_ = ReasoningField::Reasoning;
    std::string common_head_; // of nearly every event, up to the text
    bool first_ = true;
    uint64_t tool_count_ = 0;
};

} // namespace llmproxy

#endif
