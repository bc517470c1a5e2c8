// The ways out of an exchange: answers of the daemon's own, refusals, and
// finish(), which every one of them passes once.
#include "llm_proxy/base/log.h"
#include "llm_proxy/limit/headers.h"
#include "llm_proxy/proxy/exchange.h"

#include <utility>

#include "exchange_errors.h"

namespace llmproxy
{

void Exchange::answer_models()
{
    std::vector<const ModelEntry *> shown;
    std::string missing;
    for (size_t i = 0; i < kBackends; i++) {
        const BackendKind kind = static_cast<BackendKind>(i);
        if (!context_.catalog.known(kind)) {
            missing += missing.empty() ? "" : ", ";
            missing += config_->backends[i].name;
            continue;
        }
        const size_t prefix =
            std::string_view(config_->backends[i].name).size() + 1;
        for (const ModelEntry &entry : context_.catalog.entries(kind)) {
            if (may_use(*config_, *principal_, kind,
                        std::string_view(entry.id).substr(prefix))) {
                shown.push_back(&entry);
            }
        }
    }
    if (!context_.catalog.known(BackendKind::Ollama) &&
        !context_.catalog.known(BackendKind::Vllm)) {
        refuse(make_error(ApiErrorKind::BackendUnreachable,
                          "No backend could be reached."),
               Cause::BackendError);
        return;
    }
    if (!missing.empty()) {
        fields_.add("X-Proxy-Partial", missing);
    }
    answer(200, kJson, render_model_list(shown), Cause::Done);
}

void Exchange::answer_model(std::string_view id)
{
    for (size_t i = 0; i < kBackends; i++) {
        const BackendKind kind = static_cast<BackendKind>(i);
        const ModelEntry *entry = find_model(context_.catalog.entries(kind), id,
                                             config_->default_backend);
        const size_t prefix =
            std::string_view(config_->backends[i].name).size() + 1;
        if (entry != nullptr &&
            may_use(*config_, *principal_, kind,
                    std::string_view(entry->id).substr(prefix))) {
            answer(200, kJson, entry->json, Cause::Done);
            return;
        }
    }
    Error ignored;
    Route route;
    if (route_model(*config_, id, route, ignored) &&
        !context_.catalog.known(route.backend->kind)) {
        refuse(make_error(ApiErrorKind::BackendUnreachable,
                          std::string("The ") + route.backend->name +
                              " backend could not be reached."),
               Cause::BackendError);
        return;
    }
    refuse(model_not_found(id), Cause::ClientError);
}

void Exchange::answer_options()
{
    fields_.add("Allow", endpoint_ == nullptr ? "GET, HEAD, POST, OPTIONS"
                                              : allowed_methods(*endpoint_));
    answer(204, "", "", Cause::Done);
}

void Exchange::answer(int status, std::string_view content_type,
                      std::string_view body, Cause cause)
{
    status_ = status;
    AnswerHead head;
    head.status = status;
    head.content_type = content_type;
    head.fields = &fields_;
    sink_.send_whole(head, body, false);
    finish(cause);
}

void Exchange::refuse(const ApiError &error, Cause cause)
{
    if (over_) {
        return;
    }
    if (ticket_.held() && relay_ != nullptr && !relay_->reached()) {
        // Nothing reached the backend: the unit is there again, and the
        // headers must say so.
        ticket_.refund();
        fields_.clear();
        fields_.add("X-Request-Id", request_id_);
        limits_shown_ = false;
    }
    // Every answer to a token at a charged endpoint says where it stands.
    if (principal_ != nullptr && endpoint_ != nullptr && endpoint_->charged &&
        !limits_shown_) {
        const std::optional<LimitVerdict> now =
            context_.limiter.peek(*principal_);
        if (now) {
            append_limit_headers(*now, config_->rate_limit_fields, fields_);
        }
    }
    FieldBlock more;
    append_error_fields(error, more);
    status_ = api_error_status(error);
    AnswerHead head;
    head.status = status_;
    head.content_type = kJson;
    head.fields = &fields_;
    head.more_fields = &more;
    sink_.send_whole(head, api_error_body(error), api_error_closes(error.kind));
    finish(cause);
}

void Exchange::finish(Cause cause)
{
    if (over_) {
        fatal("an exchange finished twice");
    }
    over_ = true;
    slot_.give_back();
    context_.limiter.forget(id_);
    context_.catalog.forget(id_);
    if (ticket_.held() && (relay_ == nullptr || !relay_->reached())) {
        ticket_.refund();
    }
    if (context_.access_log.enabled()) {
        AccessRecord record;
        record.id = request_id_;
        record.peer = sink_.peer();
        if (principal_ != nullptr) {
            record.label = principal_->label;
        }
        record.method = head_ == nullptr ? "" : method_name(head_->method);
        record.endpoint = endpoint_ == nullptr ? "" : endpoint_->name;
        record.model = scanner_.facts().model_text;
        record.backend = route_.backend == nullptr ? "" : route_.backend->name;
        record.status = status_;
        record.cause = cause;
        record.bytes_in = bytes_in_;
        record.bytes_out = sink_.bytes_sent() - sent_before_;
        record.total_ms = context_.loop.now_ms() - started_ms_;
        if (relay_ != nullptr) {
            const TransferTimes times = relay_->times();
            record.resent = times.resent;
            const int64_t left_queue_ms = times.started_ms == -1
                                              ? context_.loop.now_ms()
                                              : times.started_ms;
            record.queue_ms = times.submitted_ms == -1
                                  ? -1
                                  : left_queue_ms - times.submitted_ms;
            record.connect_ms = times.connected_ms == -1
                                    ? -1
                                    : times.connected_ms - times.started_ms;
            record.first_ms = relay_->first_byte_ms() == -1
                                  ? -1
                                  : relay_->first_byte_ms() - started_ms_;
            record.pieces = relay_->pieces();
            record.prompt_tokens = relay_->usage().prompt;
            record.completion_tokens = relay_->usage().completion;
        }
        context_.access_log.add(record, context_.process.clock.wall_ms(),
                                config_->log_format);
    }
    // The transfer goes now; the rest of *this when the connection buries it.
    // A relay that is calling us lasts until then.
    if (relay_ != nullptr && cause == Cause::ClientGone) {
        relay_->cancel();
    }
    sink_.over();
}

} // namespace llmproxy
