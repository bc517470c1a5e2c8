#ifndef LLM_PROXY_ADAPT_ADAPTER_H
#define LLM_PROXY_ADAPT_ADAPTER_H

#include "llm_proxy/config/settings.h"
#include "llm_proxy/http/api_error.h"
#include "llm_proxy/http/message.h"
#include "llm_proxy/http/sse.h"
#include "llm_proxy/json/scanner.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy
{

// What an adapter may know of the exchange. The views and references last
// while start() runs; what it keeps beyond that it copies. The body's bytes,
// which the upstream request's pieces may point to, last until the request has
// gone out.
struct ClientRequest {
    std::string &body; // may be edited in place by start(), see passthrough
    const json::BodyFacts &facts;
    std::string_view sent_model; // as the client wrote it, prefix included
    std::string_view model;      // for the backend
    size_t model_removed = 0;    // bytes of sent_model before `model`
    std::string_view request_id;
    const std::vector<Field> &fields; // of the client's head; empty if long
    const Config &config;
    const BackendConfig &backend;
    int64_t now_s = 0; // Unix seconds
};

// What the backend is asked. The body is sent piece after piece; the pieces
// point into the client's body or into `own`.
struct UpstreamRequest {
    bool post = true;
    std::string path;                 // behind the base URL, "/v1/..."
    std::vector<std::string> headers; // "Name: value", beside the pool's own
    std::vector<std::string_view> body;
    // Longer than a string keeps within itself if pieces point into it: they
    // must survive a move.
    std::string own;
};

// How the answer's head looks to the client.
struct AnswerShape {
    int status = 200;
    bool sse = false; // adds the heads that SSE needs
    std::string content_type;
    std::optional<uint64_t> length; // absent = chunked or until close
    FieldBlock extra;               // further header lines
};

// Tokens as the backend counted them; -1 = it did not say.
struct Usage {
    int64_t prompt = -1;
    int64_t completion = -1;
};

enum class AdaptStatus {
    More,   // go on feeding
    Done,   // the answer is whole; nothing more will come out
    Failed, // error() says why
    Long,   // there is much to read first: reply_long() goes on
    Again,  // the backend is to be asked once more: start() says what
};

// Speaks one backend's wire for one exchange. Pure: bytes in, bytes out; no
// socket, no clock, no loop. The exchange calls start(), then reply_head()
// once, reply_data() for each piece in any cuts, and reply_end() at a clean
// end of the backend's body, unless Done or Failed came first; after those
// nothing is called but error(), append_error() and usage().
//
// A step that would hold the caller up, because it parses more than
// kLongWork bytes, can be taken on another thread: start() where
// starts_long() says so, and reply_long() wherever a reply_...() has answered
// Long. While such a step runs no other call is made.
//
// After Again everything begins anew with start(), but for what has come out
// so far, which the client has.
//
// What comes out is what the client gets, without HTTP framing. The exchange
// sends the head when the first byte has come out or Done was said, so a
// failure before that is still an error with a status. On Failed the adapter
// has appended nothing that belongs to the failure itself.
class Adapter
{
public:
    virtual ~Adapter() = default;

    virtual bool starts_long(const ClientRequest &request) const = 0;
    // Builds the backend's request; false = refused, `err` for the client.
    [[nodiscard]] virtual bool start(const ClientRequest &request,
                                     UpstreamRequest &out, ApiError &err) = 0;
    [[nodiscard]] virtual AdaptStatus reply_head(const ReplyHead &head) = 0;
    // May throw nothing away: appends to `out` all that can be said.
    [[nodiscard]] virtual AdaptStatus reply_data(std::string_view in,
                                                 std::string &out) = 0;
    [[nodiscard]] virtual AdaptStatus reply_end(std::string &out) = 0;
    // The step that was put off, and what had been fed behind it. May find
    // another one (Long). More after reply_end(): call that once more.
    [[nodiscard]] virtual AdaptStatus reply_long(std::string &out) = 0;

    // Bytes of the backend's answer that it keeps for later.
    virtual size_t held() const = 0;
    // It may say Again: the client's body must last to the end.
    virtual bool keeps_body() const { return false; }
    // Known once the first byte came out or Done was said; and, for a stream
    // the client asked for, already before (for an early keep-alive).
    virtual const AnswerShape &shape() const = 0;
    virtual const ApiError &error() const = 0;
    // The client gets server-sent events, whatever happens from here.
    virtual bool streaming() const = 0;
    // What came out so far ends an event: a comment may go in here.
    virtual bool at_event_end() const = 0;
    // Ends a stream that has begun: appends one error event where one may
    // stand, or what is missing of one that the backend had begun; nothing
    // where the bytes were cut inside an event.
    virtual void append_error(const ApiError &error, std::string &out) = 0;
    virtual Usage usage() const = 0;
    // Pieces (events) so far.
    virtual uint64_t pieces() const = 0;
};

constexpr size_t kMaxErrorBody = size_t{1} << 20; // a backend's error text
constexpr size_t kMaxLine = size_t{8} << 20;      // one NDJSON or SSE line
constexpr size_t kMaxReply = size_t{64} << 20;    // one non-stream answer
// As JSON of many small values this takes some 2 ms to read and translate.
constexpr size_t kLongWork = size_t{16} << 10;

// For vLLM and other OpenAI-compatible servers: `path` as the client sent it.
std::unique_ptr<Adapter> make_passthrough(std::string_view path, EndMark mark);
// POST /v1/chat/completions to Ollama's POST /api/chat.
std::unique_ptr<Adapter> make_ollama_chat();
// POST /v1/completions to Ollama's POST /api/generate.
std::unique_ptr<Adapter> make_ollama_completion();
// POST /v1/embeddings to Ollama's POST /api/embed.
std::unique_ptr<Adapter> make_ollama_embedding();

} // namespace llmproxy

#endif
