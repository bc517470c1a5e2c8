// What an operator is shown of an exchange while it runs.
#include "llm_proxy/proxy/exchange_view.h"

#include "llm_proxy/proxy/connection.h"
#include "llm_proxy/proxy/exchange.h"
#include "llm_proxy/proxy/relay.h"

namespace llmproxy
{

const char *Relay::phase() const
{
    const TransferTimes now = times();
    if (now.submitted_ms == -1) {
        return "translate";
    }
    if (now.started_ms == -1) {
        return "queue";
    }
    if (now.connected_ms == -1) {
        return "connect";
    }
    return first_byte_ms_ == -1 ? "wait" : "answer";
}

ExchangeView Exchange::view() const
{
    ExchangeView view;
    view.id = request_id_;
    view.label = principal_ == nullptr ? "" : principal_->label;
    view.peer = sink_.peer();
    view.endpoint = endpoint_ == nullptr ? "" : endpoint_->name;
    view.model = model_id_.empty() ? scanner_.facts().model_text : model_id_;
    view.backend = route_.backend == nullptr ? "" : route_.backend->name;
    if (relay_ != nullptr) {
        view.phase = relay_->phase();
        view.pieces = relay_->pieces();
    } else {
        const bool lists = endpoint_ != nullptr &&
                           (endpoint_->kind == EndpointKind::Models ||
                            endpoint_->kind == EndpointKind::ModelDetail);
        view.phase = lists ? "list" : "limit";
    }
    view.age_ms = context_.loop.now_ms() - started_ms_;
    view.bytes = sink_.bytes_sent() - sent_before_;
    return view;
}

ExchangeView Connection::view() const
{
    ExchangeView view = exchange_->view();
    if (state_ == State::Body) {
        view.phase = "request";
    }
    return view;
}

} // namespace llmproxy
