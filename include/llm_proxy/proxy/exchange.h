#ifndef LLM_PROXY_PROXY_EXCHANGE_H
#define LLM_PROXY_PROXY_EXCHANGE_H

#include "llm_proxy/config/route.h"
#include "llm_proxy/http/header_lint.h"
#include "llm_proxy/json/scanner.h"
#include "llm_proxy/limit/receipt.h"
#include "llm_proxy/limit/slot.h"
#include "llm_proxy/limit/ticket.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/proxy/endpoints.h"
#include "llm_proxy/proxy/exchange_view.h"
#include "llm_proxy/proxy/model_catalog.h"
#include "llm_proxy/proxy/model_details.h"
#include "llm_proxy/proxy/relay.h"
#include "llm_proxy/proxy/response_sink.h"
#include "llm_proxy/proxy/worker_context.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy
{

// One request and its answer, from the end of its head to finish(cause):
// endpoint, token, body, model, limit, relay. Owned by its Connection, which
// buries it after ResponseSink::over(). The calls below come in this order;
// after over() none comes.
class Exchange final : public Buried,
                       private RelayOwner,
                       private CatalogClient,
                       private DetailClient,
                       private LimitSink
{
public:
    Exchange(WorkerContext &context, ResponseSink &sink);
    ~Exchange() override;
    Exchange(const Exchange &) = delete;
    Exchange &operator=(const Exchange &) = delete;

    // The head is complete; it outlives the exchange. May answer already.
    void on_head(const RequestHead &head);
    // The same, where there is no room for it.
    void turn_away(const RequestHead &head);
    void on_body(std::string_view bytes);
    void on_body_complete();
    // The request cannot be read to its end (or not even its head).
    void on_fault(const ApiError &error, Cause cause);
    void on_drained();
    void on_client_gone();
    // Time has passed; ms until the next look, -1 for none.
    int64_t tick();
    // Ends it now, with an error where the client can still be told; as soon
    // as the helper lets it.
    void cut(const ApiError &error, Cause cause);
    bool at_rest() const override;

    const Config &config() const { return *config_; }
    // A valid one: the client is who it says it is.
    bool has_token() const { return principal_ != nullptr; }
    // Grows from one of a worker's exchanges to the next.
    uint64_t number() const { return id_; }
    ExchangeView view() const;

private:
    void on_relay_answering() override;
    void on_relay_ending() override;
    void on_relay_error(const ApiError &error, Cause cause) override;
    void on_relay_end(Cause cause) override;
    void on_catalog() override;
    void on_detail(const ModelDetail &detail, Cause cause) override;
    void on_limit_verdict(uint64_t exchange_id,
                          const LimitVerdict &verdict) override;

    bool check_endpoint(ApiError &err);
    bool check_token(ApiError &err);
    bool check_body_headers(ApiError &err);
    bool check_json(ApiError &err);
    bool find_route(ApiError &err);
    bool may_use_model(std::string_view sent, ApiError &err) const;
    void admitted(const LimitVerdict &verdict);
    // Hands the request over to the relay.
    void dispatch();
    // nginx fetches the answer from the backend itself.
    bool may_redirect() const;
    void redirect();
    // Nothing: on_limit_verdict() comes.
    std::optional<LimitVerdict> ask_limiter();
    // Of a request that never got as far as the limiter.
    void return_receipt();
    // The receipt that the request shows, if nobody here has seen it used;
    // with the stamp of the unit, as far as it can be given back here.
    std::optional<Receipt> good_receipt(std::string_view given);
    void refuse_receipt(ReceiptFault fault) const;
    Receipt new_receipt(const LimitVerdict &verdict, int64_t issued_s) const;
    std::string_view receipt_secret() const;
    // /internal/authz
    void authorize();
    bool find_authz_backend(const Endpoint *asked, ApiError &err);
    void authorized(const LimitVerdict &verdict);
    void let_pass(const LimitVerdict &verdict, int64_t issued_s);
    void allow();
    void refuse_authz(const ApiError &error);
    void answer_authz(int status, Cause cause);
    void answer(int status, std::string_view content_type,
                std::string_view body, Cause cause);
    void answer_options();
    void ask_for_model();
    void answer_models();
    void answer_listed_model();
    void refuse(const ApiError &error, Cause cause);
    void send(const AnswerHead &head, std::string_view body, bool close,
              Cause cause);
    void choose_request_id();
    void begin_fields();
    void add_label();
    void add_backend();
    void reserve_body(size_t bytes);
    void drop_body();
    void finish(Cause cause);

    WorkerContext &context_;
    ResponseSink &sink_;
    std::shared_ptr<const Config> config_;
    const RequestHead *head_ = nullptr;
    const Endpoint *endpoint_ = nullptr;
    const Principal *principal_ = nullptr; // in *config_
    uint64_t id_;
    std::string request_id_;
    FieldBlock fields_; // of every answer: request id, limits
    std::string body_;
    size_t body_charged_ = 0;  // to the budget of buffered bytes
    size_t body_reserved_ = 0; // of the room set aside for bodies
    json::BodyScanner scanner_;
    Route route_;
    std::string model_id_; // of a detail; route_ points into it
    ConcurrencySlot slot_;
    LimitTicket ticket_;
    std::unique_ptr<Relay> relay_;
    int64_t started_ms_;
    int64_t limit_asked_ms_ = -1;
    int64_t limit_ms_ = -1; // how long the answer took
    uint64_t sent_before_;
    uint64_t bytes_in_ = 0;
    int status_ = 0;
    bool json_ok_ = true;
    bool may_bypass_ = false;    // a web server may go to route_'s backend
    bool limits_shown_ = false;  // in fields_
    bool receipt_read_ = false;  // once is enough
    bool receipt_shown_ = false; // a good one
    bool over_ = false;
};

} // namespace llmproxy

#endif
