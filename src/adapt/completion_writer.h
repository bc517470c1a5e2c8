#ifndef LLM_PROXY_SRC_ADAPT_COMPLETION_WRITER_H
#define LLM_PROXY_SRC_ADAPT_COMPLETION_WRITER_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "answer_writer.h"

namespace llmproxy
{

// text_completion objects. They cannot carry reasoning, so what a line thinks
// is left out, with the tokens that it was made of.
class CompletionWriter final : public AnswerWriter
{
public:
    void begin(const ClientRequest &request, const Wishes &wishes) override;
    void begin_choice(Wishes &wishes) override;
    void set_created(int64_t created_s) override;
    size_t lead() const override { return echo_.size(); }
    void chunks(const OllamaLine &line, std::string &out) override;
    void common_chunk(std::string_view text, std::string &out) override;
    void end(const OllamaLine &line, bool last, std::string &out) override;
    void whole(const OllamaLine &line, bool last, std::string &out) override;
    uint64_t events() const override { return frame_.events(); }

private:
    void write_echo(std::string &out);
    void write_event(const OllamaLine &line, const char *finish_reason,
                     std::string &out);
    void close_choice(const OllamaLine &line, const char *finish_reason,
                      std::string &out);
    void write_logprobs(const OllamaLine &line, std::string &out) const;

    AnswerFrame frame_;
    // Of every choice up to the inside of its text, and of every event.
    std::string open_choice_;
    std::string text_head_;
    std::string echo_;       // to come before the first text, escaped
    uint64_t text_size_ = 0; // code points of the choice's text so far
    bool first_ = true;      // of the choices
};

} // namespace llmproxy

#endif
