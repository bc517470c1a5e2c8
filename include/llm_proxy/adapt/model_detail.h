#ifndef LLM_PROXY_ADAPT_MODEL_DETAIL_H
#define LLM_PROXY_ADAPT_MODEL_DETAIL_H

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/http/api_error.h"
#include "llm_proxy/http/message.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy
{

// What there is to say of one model. A few KiB at most, whatever the backend
// sent: many of them are kept.
struct ModelDetail {
    // What its JSON object has behind "id"; empty: `error` says why not.
    std::string members;
    ApiError error;
};

// POST /api/show, Ollama's request for what it knows of `name`.
UpstreamRequest model_detail_request(std::string_view name,
                                     const BackendConfig &backend);

// Reads the answer to it. Pure: the head, the body in any cuts, the end.
class ModelDetailReader
{
public:
    // `now_s`, in Unix seconds, stands for a date that is missing.
    ModelDetailReader(std::string_view name, std::string_view backend,
                      int64_t now_s)
        : name_(name), backend_(backend), now_s_(now_s)
    {
    }

    // False: it cannot be used, finish() tells why; no more is to be fed.
    [[nodiscard]] bool head(const ReplyHead &head);
    [[nodiscard]] bool data(std::string_view bytes);
    bool failed() const { return !unusable_.empty(); }
    // finish() parses so much; over kLongWork it may do so on another thread.
    size_t size() const { return body_.size(); }
    // Once, at the end of the body or after a false.
    ModelDetail finish();

private:
    bool fail(const char *why);

    std::string name_;
    std::string backend_; // its configured name
    int64_t now_s_;
    std::string body_;
    std::string unusable_; // why; empty = it can be used so far
    int status_ = 0;
    int retry_after_s_ = 0;
};

// {"id":...,"object":"model",...} under the name that the client gave it.
std::string render_model_detail(std::string_view id, const ModelDetail &detail);

} // namespace llmproxy

#endif
