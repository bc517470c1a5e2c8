// The ways out of an exchange: answers of the daemon's own, refusals, and
// finish(), which every one of them passes once.
#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/limit/headers.h"
#include "llm_proxy/proxy/exchange.h"

#include <utility>

#include "cors.h"
#include "exchange_errors.h"

namespace llmproxy
{

void Exchange::answer_models()
{
    std::vector<ShownModel> shown;
    std::string missing;
    for (const BackendConfig &backend : config_->backends) {
        if (!context_.catalog.known(backend.kind)) {
            missing += missing.empty() ? "" : ", ";
            missing += backend.name;
            continue;
        }
        for (const ModelEntry &entry : context_.catalog.entries(backend.kind)) {
            if (may_use(*config_, *principal_, backend.kind, entry.name) &&
                !is_forbidden_cloud(*config_, backend.kind, entry.name)) {
                shown.push_back(
                    {&entry, shown_prefix(*config_, backend.kind, entry.name)});
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

void Exchange::ask_for_model()
{
    if (!percent_decode(head_->path.substr(endpoint_->path.size()),
                        model_id_)) {
        model_id_.clear();
    }
    Error no_name;
    ApiError err;
    if (!route_model(*config_, model_id_, route_, no_name)) {
        refuse(model_not_found(model_id_), Cause::ClientError);
    } else if (!may_use_model(model_id_, err)) {
        refuse(err, Cause::ClientError);
    } else if (route_.backend->kind == BackendKind::Vllm) {
        context_.catalog.get(id_, config_, *this);
    } else if (!context_.details.get(id_, config_, route_.model, *this)) {
        refuse(make_error(ApiErrorKind::BackendBusy), Cause::Overloaded);
    }
}

void Exchange::on_detail(const ModelDetail &detail, Cause cause)
{
    if (!detail.members.empty()) {
        answer(200, kJson, render_model_detail(model_id_, detail), cause);
    } else if (detail.error.kind == ApiErrorKind::ModelNotFound) {
        // In the same words as a model that the token may not use.
        refuse(model_not_found(model_id_), cause);
    } else {
        refuse(detail.error, cause);
    }
}

void Exchange::answer_listed_model()
{
    const BackendConfig &backend = *route_.backend;
    if (!context_.catalog.known(backend.kind)) {
        refuse(make_error(ApiErrorKind::BackendUnreachable,
                          std::string("The ") + backend.name +
                              " backend could not be reached."),
               Cause::BackendError);
        return;
    }
    const ModelEntry *entry =
        find_model(context_.catalog.entries(backend.kind), route_.model);
    if (entry == nullptr) {
        refuse(model_not_found(model_id_), Cause::ClientError);
        return;
    }
    const std::string prefix =
        shown_prefix(*config_, backend.kind, entry->name);
    answer(200, kJson, render_model({entry, prefix}), Cause::Done);
}

void Exchange::answer_options()
{
    const char *methods = endpoint_ == nullptr ? "GET, HEAD, POST, OPTIONS"
                                               : allowed_methods(*endpoint_);
    fields_.add("Allow", methods);
    append_preflight_fields(*config_, *head_, methods, fields_);
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
    send(head, body, false, cause);
}

void Exchange::refuse(const ApiError &error, Cause cause)
{
    if (over_) {
        return;
    }
    if (ticket_.held() && (relay_ == nullptr || !relay_->reached())) {
        // Nothing reached the backend: the unit is there again, and the
        // headers must say so.
        ticket_.refund();
        begin_fields();
        limits_shown_ = false;
    }
    return_receipt();
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
    send(head, api_error_body(error), api_error_closes(error.kind), cause);
}

// The whole answer. Who has it may ask again, so the place is free by then.
void Exchange::send(const AnswerHead &head, std::string_view body, bool close,
                    Cause cause)
{
    slot_.give_back();
    sink_.send_whole(head, body, close);
    finish(cause);
}

void Exchange::finish(Cause cause)
{
    if (over_) {
        fatal("an exchange finished twice");
    }
    over_ = true;
    context_.process.ended[static_cast<size_t>(cause)].fetch_add(
        1, std::memory_order_relaxed);
    slot_.give_back();
    if (cause == Cause::ClientGone) {
        return_receipt(); // unless it went further
    }
    context_.limiter.forget(id_);
    context_.catalog.forget(id_);
    context_.details.forget(id_);
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
        record.limit_ms = limit_ms_;
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
