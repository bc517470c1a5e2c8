// Writes OpenAI's list of embeddings.

#include "embedding_writer.h"

#include "llm_proxy/base/base64.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/writer.h"

#include "float_text.h"

namespace llmproxy
{

void EmbeddingWriter::begin_list(std::string &out)
{
    out += R"({"object":"list","data":[)";
}

void EmbeddingWriter::begin_vector(std::string &out)
{
    if (vectors_ > 0) {
        out += ',';
    }
    out += R"({"object":"embedding","index":)";
    append_u64(out, vectors_++);
    out += R"(,"embedding":)";
    out += format_ == EmbeddingFormat::Base64 ? '"' : '[';
    first_ = true;
}

bool EmbeddingWriter::number(std::string_view text, std::string &out)
{
    if (format_ == EmbeddingFormat::Base64) {
        if (waiting_ == bytes_.size()) {
            encode(out);
        }
        if (!write_float_bytes(bytes_.data() + waiting_, text)) {
            return false;
        }
        waiting_ += kFloatBytes;
        return true;
    }
    if (!first_) {
        out += ',';
    }
    first_ = false;
    return append_float_text(out, text);
}

void EmbeddingWriter::end_vector(std::string &out)
{
    encode(out);
    out += format_ == EmbeddingFormat::Base64 ? "\"}" : "]}";
}

void EmbeddingWriter::end_list(std::string_view model, int64_t prompt_tokens,
                               std::string &out)
{
    const auto tokens = static_cast<uint64_t>(prompt_tokens);
    out += R"(],"model":)";
    json::append_string(out, model);
    out += R"(,"usage":{"prompt_tokens":)";
    append_u64(out, tokens);
    out += R"(,"total_tokens":)";
    append_u64(out, tokens);
    out += "}}";
}

void EmbeddingWriter::encode(std::string &out)
{
    append_base64(out, {bytes_.data(), waiting_});
    waiting_ = 0;
}

} // namespace llmproxy
