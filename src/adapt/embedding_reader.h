#ifndef LLM_PROXY_SRC_ADAPT_EMBEDDING_READER_H
#define LLM_PROXY_SRC_ADAPT_EMBEDDING_READER_H

#include <cstddef>
#include <string>
#include <string_view>

#include "embedding_writer.h"

namespace llmproxy
{

// Takes the embeddings out of an answer of /api/embed as its bytes arrive, and
// gives their numbers to a writer. No tree is built of them: what is kept is
// the rest of the answer, {"model":...,"embeddings":[],...}, which is JSON
// exactly if the answer was. Cutting the input differently never changes the
// result.
class EmbeddingReader
{
public:
    // More vectors than `wanted` are refused.
    EmbeddingReader(EmbeddingWriter &writer, size_t wanted)
        : writer_(writer), wanted_(wanted)
    {
    }

    // Appends to `out` what the writer makes of `in`. False: the answer cannot
    // be used, error() says why; nothing is fed any more.
    [[nodiscard]] bool feed(std::string_view in, std::string &out);
    const char *error() const { return error_; }

    // The answer without its embeddings; to be read when all of it was fed.
    const std::string &rest() const { return rest_; }
    // There was an array of embeddings.
    bool found() const { return found_; }

private:
    enum class State {
        Rest,
        FirstVector,  // behind a bracket
        BeforeVector, // behind a comma
        AfterVector,
        FirstNumber,
        BeforeNumber,
        Number,
        AfterNumber,
    };

    [[nodiscard]] bool on_rest(std::string_view &in);
    [[nodiscard]] bool on_rest_byte(char byte);
    [[nodiscard]] bool on_structure(std::string_view &in, std::string &out);
    [[nodiscard]] bool on_number(std::string_view &in, std::string &out);
    [[nodiscard]] bool fail(const char *why);

    EmbeddingWriter &writer_;
    const size_t wanted_;
    State state_ = State::Rest;
    std::string rest_;
    std::string number_; // the part of a number that came before a cut
    const char *error_ = "";
    size_t depth_ = 0;        // in the rest
    size_t string_begin_ = 0; // in rest_, of the last string: behind its quote
    size_t string_end_ = 0;
    bool in_string_ = false;
    bool escaped_ = false;
    bool at_value_ = false; // of the member "embeddings"
    bool found_ = false;
};

// Of the answer beside the embeddings, and of one number.
constexpr size_t kMaxEmbeddingRest = size_t{1} << 20;
constexpr size_t kMaxNumberText = 1024;

constexpr char kWrongCount[] = "The backend's embeddings are not as many as "
                               "the inputs.";

} // namespace llmproxy

#endif
