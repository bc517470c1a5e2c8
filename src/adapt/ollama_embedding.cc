// POST /v1/embeddings to Ollama's /api/embed. The vectors are translated as
// they arrive, but nothing goes to the client before the answer is whole: only
// then is it known to be no error, and to hold one vector for each text.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/json/value.h"

#include <memory>
#include <string>
#include <utility>

#include <jansson.h>

#include "backend_error.h"
#include "embedding_reader.h"
#include "embedding_request.h"
#include "embedding_writer.h"
#include "head.h"
#include "held_text.h"
#include "skeleton.h"

namespace llmproxy
{

namespace
{

// To put an answer of that size together takes less than a millisecond.
constexpr size_t kLongCopy = size_t{1} << 20;

class OllamaEmbedding final : public Adapter
{
public:
    bool starts_long(const ClientRequest &request) const override;
    bool start(const ClientRequest &request, UpstreamRequest &out,
               ApiError &err) override;
    AdaptStatus reply_head(const ReplyHead &head) override;
    AdaptStatus reply_data(std::string_view in, std::string &out) override;
    AdaptStatus reply_end(std::string &out) override;
    AdaptStatus reply_long(std::string &out) override;
    size_t held() const override { return held_.size() + piece_.size(); }
    const AnswerShape &shape() const override { return shape_; }
    const ApiError &error() const override { return error_; }
    bool streaming() const override { return false; }
    bool at_event_end() const override { return false; }
    void append_error(const ApiError & /*error*/,
                      std::string & /*out*/) override
    {
    }
    Usage usage() const override { return usage_; }
    uint64_t pieces() const override { return 0; }

private:
    // The answer's vectors on their way from one side to the other.
    struct Vectors {
        explicit Vectors(const Wishes &wishes)
            : writer(wishes.embedding_format), reader(writer, wishes.inputs)
        {
        }
        EmbeddingWriter writer;
        EmbeddingReader reader;
    };

    AdaptStatus fail(std::string message);
    AdaptStatus fail_as_said();
    AdaptStatus finish_refusal();
    AdaptStatus finish_answer(std::string &out);

    Wishes wishes_;
    std::unique_ptr<Vectors> vectors_; // none while the reply is a refusal
    HeldText held_;     // a refusal's text, or the client's answer so far
    std::string piece_; // of the client's answer
    size_t received_ = 0;
    AnswerShape shape_;
    ApiError error_;
    Usage usage_;
    std::string model_; // as the client wrote it
    std::string backend_;
    int status_ = 0;
    int retry_after_s_ = 0;
};

bool OllamaEmbedding::starts_long(const ClientRequest &request) const
{
    return skeleton_size(request.body, request.facts) > kLongWork;
}

bool OllamaEmbedding::start(const ClientRequest &request, UpstreamRequest &out,
                            ApiError &err)
{
    if (!translate_embedding_request(request, out, wishes_, err)) {
        return false;
    }
    out.headers = request_headers(request, "application/json");
    model_ = request.sent_model;
    backend_ = request.backend.name;
    shape_.content_type = "application/json";
    if (!wishes_.dropped.empty()) {
        (void)shape_.extra.add("X-Proxy-Dropped-Params", wishes_.dropped);
    }
    return true;
}

AdaptStatus OllamaEmbedding::fail(std::string message)
{
    (void)refuse(error_, ApiErrorKind::BackendBadResponse, std::move(message));
    return AdaptStatus::Failed;
}

// `error_` holds what the backend said.
AdaptStatus OllamaEmbedding::fail_as_said()
{
    if (error_.kind == ApiErrorKind::ContextLengthExceeded) {
        error_.param = "input";
    }
    return AdaptStatus::Failed;
}

AdaptStatus OllamaEmbedding::reply_head(const ReplyHead &head)
{
    status_ = head.status;
    retry_after_s_ = reply_retry_after(head);
    if (head.status >= 400 && head.status <= 599) {
        return AdaptStatus::More;
    }
    if (!accept_ollama_reply(head, false, error_)) {
        return AdaptStatus::Failed;
    }
    vectors_ = std::make_unique<Vectors>(wishes_);
    EmbeddingWriter::begin_list(piece_);
    return AdaptStatus::More;
}

AdaptStatus OllamaEmbedding::reply_data(std::string_view in,
                                        std::string & /*out*/)
{
    if (vectors_ == nullptr) {
        held_.append(in.substr(0, kMaxOllamaError - held_.size()));
        return held_.size() < kMaxOllamaError ? AdaptStatus::More
                                              : AdaptStatus::Long;
    }
    if (in.size() > kMaxReply - received_) {
        return fail("The backend's answer is larger than 64 MiB.");
    }
    received_ += in.size();
    if (!vectors_->reader.feed(in, piece_)) {
        return fail(vectors_->reader.error());
    }
    held_.append(piece_);
    piece_.clear();
    return AdaptStatus::More;
}

AdaptStatus OllamaEmbedding::reply_end(std::string &out)
{
    const bool is_long = vectors_ == nullptr
                             ? held_.size() > kLongWork
                             : held_.size() > kLongCopy ||
                                   vectors_->reader.rest().size() > kLongWork;
    return is_long ? AdaptStatus::Long : reply_long(out);
}

AdaptStatus OllamaEmbedding::reply_long(std::string &out)
{
    return vectors_ == nullptr ? finish_refusal() : finish_answer(out);
}

AdaptStatus OllamaEmbedding::finish_refusal()
{
    const std::string text = held_.take();
    error_ = map_ollama_error({status_, retry_after_s_, text, backend_});
    return fail_as_said();
}

AdaptStatus OllamaEmbedding::finish_answer(std::string &out)
{
    const EmbeddingReader &reader = vectors_->reader;
    json::Ptr rest;
    Error ignored;
    if (received_ == 0) {
        error_ = unfinished_error();
        return AdaptStatus::Failed;
    }
    if (!json::parse_lenient(reader.rest(), rest, ignored) ||
        !json_is_object(rest.get())) {
        return fail("The backend's answer is no JSON object, or not whole.");
    }
    const json_t *said = json::get(rest.get(), "error");
    if (said != nullptr) {
        error_ = map_ollama_text(json_is_string(said)
                                     ? std::string(json::string_of(said))
                                     : json::dump(rest.get()));
        return fail_as_said();
    }
    if (!reader.found()) {
        return fail("The backend's answer holds no embeddings.");
    }
    if (vectors_->writer.vectors() != wishes_.inputs) {
        return fail(kWrongCount);
    }
    usage_.prompt = 0;
    if (json::get_int(rest.get(), "prompt_eval_count", usage_.prompt) &&
        usage_.prompt < 0) {
        usage_.prompt = 0;
    }
    EmbeddingWriter::end_list(model_, usage_.prompt, piece_);
    held_.append(piece_);
    shape_.length = held_.size();
    if (out.empty()) {
        out = held_.take();
    } else {
        out += held_.take();
    }
    return AdaptStatus::Done;
}

} // namespace

std::unique_ptr<Adapter> make_ollama_embedding()
{
    return std::make_unique<OllamaEmbedding>();
}

} // namespace llmproxy
