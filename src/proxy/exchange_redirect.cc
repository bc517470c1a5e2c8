// What a web server in front is told beside the answer: for its log whom it
// was for, and where to fetch the answer itself (X-Accel-Redirect) once the
// daemon has read the model and charged the request.
#include "llm_proxy/base/strings.h"
#include "llm_proxy/proxy/exchange.h"
#include "llm_proxy/proxy/trust.h"

#include <string>

namespace llmproxy
{

void Exchange::add_label()
{
    if (principal_ != nullptr && is_trusted_proxy(*config_, sink_.peer())) {
        fields_.add("X-Proxy-Label", principal_->label);
    }
}

void Exchange::add_backend()
{
    if (route_.backend != nullptr && is_trusted_proxy(*config_, sink_.peer())) {
        fields_.add("X-Proxy-Backend", route_.backend->name);
    }
}

// nginx sends the client's own bytes, so the model's name must be right as it
// stands; and nobody would see the end of a request that counts while it runs.
bool Exchange::may_redirect() const
{
    const std::string_view *mode = find_field(head_->fields, "X-Accel-Mode");
    if (config_->accel_redirect == AccelRedirect::Off || mode == nullptr ||
        !iequals(*mode, "on") || route_.backend->kind != BackendKind::Vllm ||
        principal_->concurrency != 0 ||
        !is_trusted_proxy(*config_, sink_.peer())) {
        return false;
    }
    const std::string &sent = scanner_.facts().model_text;
    if (sent == route_.model) {
        return true;
    }
    std::string prefixed = route_.backend->name;
    prefixed += ':';
    prefixed += route_.model;
    return config_->accel_redirect == AccelRedirect::All && sent == prefixed;
}

void Exchange::redirect()
{
    ticket_ = LimitTicket(); // spent
    fields_.add("X-Accel-Redirect", std::string("@") + route_.backend->name);
    (void)fields_.add("X-Model", route_.model);
    answer(200, "", "", Cause::Redirected);
}

} // namespace llmproxy
