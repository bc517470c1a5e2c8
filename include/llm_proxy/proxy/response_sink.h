#ifndef LLM_PROXY_PROXY_RESPONSE_SINK_H
#define LLM_PROXY_PROXY_RESPONSE_SINK_H

#include "llm_proxy/http/message.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace llmproxy
{

struct AnswerHead {
    int status = 200;
    std::string_view content_type; // empty = none
    const FieldBlock *fields = nullptr;
    const FieldBlock *more_fields = nullptr; // may be nullptr
    std::optional<uint64_t> length;          // absent = chunked, or until close
    bool sse = false;
};

// Where an exchange writes its answer: the connection, which frames it. Either
// send_whole(), or begin() and write()s of which one is the last, or abort()
// at any time; then over(). Never calls back into the exchange from inside.
class ResponseSink
{
public:
    virtual void send_continue() = 0; // 100 Continue, if the client waits
    // Head and body at once. `close`: end the connection after it.
    virtual void send_whole(AnswerHead head, std::string_view body,
                            bool close) = 0;
    // The head goes out with the first write().
    virtual void begin(const AnswerHead &head) = 0;
    virtual void write(std::string_view bytes, bool last) = 0;
    // The answer ends here, unfinished: what was written goes out, then the
    // connection ends so that the client sees the cut.
    virtual void abort() = 0;
    // Output waits over the high mark: take no more from the backend until
    // Exchange::on_drained().
    virtual bool congested() const = 0;
    virtual uint64_t bytes_sent() const = 0;
    virtual std::string_view peer() const = 0;
    // The exchange has ended. The connection buries it.
    virtual void over() = 0;

protected:
    ~ResponseSink() = default;
};

} // namespace llmproxy

#endif
