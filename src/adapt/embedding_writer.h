#ifndef LLM_PROXY_SRC_ADAPT_EMBEDDING_WRITER_H
#define LLM_PROXY_SRC_ADAPT_EMBEDDING_WRITER_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy
{

enum class EmbeddingFormat { Float, Base64 };

// Writes the list of embeddings that OpenAI's clients expect, number by
// number. The calls come in the order of the answer's parts: begin_list(),
// then for each embedding begin_vector(), number()..., end_vector(), then
// end_list(); all append to `out`, which need not be the same string each
// time.
class EmbeddingWriter
{
public:
    explicit EmbeddingWriter(EmbeddingFormat format) : format_(format) {}

    static void begin_list(std::string &out);
    void begin_vector(std::string &out);
    // `text` as the backend wrote it; false if it is no number that an
    // embedding can hold.
    [[nodiscard]] bool number(std::string_view text, std::string &out);
    void end_vector(std::string &out);
    static void end_list(std::string_view model, int64_t prompt_tokens,
                         std::string &out);

    size_t vectors() const { return vectors_; } // begun so far

private:
    void encode(std::string &out);

    const EmbeddingFormat format_;
    size_t vectors_ = 0;
    bool first_ = true; // no number of this vector has come out
    // Numbers that wait to be encoded; full, their base64 needs no padding.
    std::array<char, size_t{12} * 64> bytes_{};
    size_t waiting_ = 0;
};

} // namespace llmproxy

#endif
