#ifndef LLM_PROXY_PROXY_RELAY_H
#define LLM_PROXY_PROXY_RELAY_H

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/loop/helper.h"
#include "llm_proxy/proxy/access_log.h"
#include "llm_proxy/proxy/response_sink.h"
#include "llm_proxy/proxy/worker_context.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace llmproxy
{

// What a relay tells its exchange, from the loop, never from inside start().
class RelayOwner
{
public:
    // The backend answers and the request is all out: the client's body is
    // not needed any more. At most once, before the three below.
    virtual void on_relay_answering() = 0;
    // The answer's last bytes go out next: who sees them may ask again.
    virtual void on_relay_ending() = 0;
    // One of these two, exactly once, the last call.
    // Nothing has gone to the client yet: answer this.
    virtual void on_relay_error(const ApiError &error, Cause cause) = 0;
    // The answer went out, whole (Done) or cut.
    virtual void on_relay_end(Cause cause) = 0;

protected:
    ~RelayOwner() = default;
};

// The second half of an exchange: the request to the backend and the answer
// back, through the adapter, piece by piece. What takes the adapter long is
// done by the helper; until that is back the relay is not at rest, holds the
// answer's next bytes off, and must not be destroyed.
class Relay final : private TransferSink, private LongJob, private TimerHandler
{
public:
    // All references outlive the relay. `fields` go into the answer's head.
    Relay(WorkerContext &context, ResponseSink &sink, RelayOwner &owner,
          std::unique_ptr<Adapter> adapter, const Config &config,
          const FieldBlock &fields);
    ~Relay();
    Relay(const Relay &) = delete;
    Relay &operator=(const Relay &) = delete;

    // Asks the adapter for the request and submits it. False: refused,
    // nothing was sent. A long request is refused later, through the owner;
    // what `request` points to outlives the relay.
    [[nodiscard]] bool start(const ClientRequest &request, ApiError &err);
    // The client took output: a paused backend goes on.
    void on_drained();
    // Sends a comment into a silent stream when it is time. Returns the ms
    // until the next look, or -1 for none.
    int64_t tick();
    // Ends a running stream with an error event (or before the head, an
    // error), as the drain does.
    void cut(const ApiError &error, Cause cause);
    // Frees the backend; the owner hears nothing more.
    void cancel();
    // False: the helper is at work in it.
    bool at_rest() const { return !at_work_; }

    bool reached() const { return reached_ || transfer_reached(); }
    TransferTimes times() const;
    int64_t first_byte_ms() const { return first_byte_ms_; }
    // Of the head that the client got; 0 = none.
    int answer_status() const { return answer_status_; }
    // For an operator: translate, queue, connect, wait or answer.
    const char *phase() const;
    Usage usage() const { return at_work_ ? Usage() : adapter_->usage(); }
    uint64_t pieces() const { return at_work_ ? 0 : adapter_->pieces(); }

private:
    Take on_upstream_head(const ReplyHead &head) override;
    Take on_upstream_data(std::string_view bytes) override;
    void on_upstream_turn() override;
    void on_upstream_end(const TransferEnd &end) override;
    void work() override;
    void on_worked() override;
    void on_timer(Timer &timer) override;

    struct LongStart;

    void submit(UpstreamRequest request);
    void begin_work();
    void ask_again();
    void go_on();
    void take_end();
    void release();
    bool withdraw();
    bool transfer_reached() const;
    bool queued() const;
    BackendNotes &notes();
    void note_failure(const std::string &why);
    void begin_answer();
    void note_answering();
    void flush(bool last);
    void settle();
    bool charge();
    void next_turn();
    void fail(const ApiError &error, Cause cause);

    WorkerContext &context_;
    ResponseSink &sink_;
    RelayOwner &owner_;
    std::unique_ptr<Adapter> adapter_;
    const Config &config_;
    const FieldBlock &fields_;
    const BackendConfig *backend_ = nullptr;
    std::optional<ClientRequest> request_; // for a long or another start
    std::unique_ptr<UpstreamTransfer> transfer_;
    std::unique_ptr<LongStart> long_start_; // until its request is submitted
    std::optional<TransferEnd> end_;        // came; maybe not yet acted upon
    TransferTimes times_;                   // kept when the transfer is let go
    std::string out_;                       // translated, not yet written
    size_t taken_ = 0;             // bytes of the answer that wait in this turn
    size_t written_ = 0;           // of out_
    size_t charged_ = 0;           // to the budget of buffered bytes
    std::unique_ptr<Timer> timer_; // made when a large answer needs it
    AdaptStatus status_ = AdaptStatus::More;
    int64_t last_write_ms_ = 0;
    int64_t first_byte_ms_ = -1;
    std::optional<std::pair<ApiError, Cause>> cut_; // waits for the helper
    bool at_work_ = false; // the helper uses adapter_, out_ and status_
    bool wants_sse_ = false;
    int answer_status_ = 0;
    bool begun_ = false;
    bool answering_ = false;
    bool paused_ = false;
    bool held_off_ = false; // because this turn of the loop was long already
    bool over_ = false;
    bool reached_ = false;
};

} // namespace llmproxy

#endif
