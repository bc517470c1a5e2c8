// The unit an exchange holds: moved along with it, given back at most once.

#include "llm_proxy/limit/ticket.h"

namespace llmproxy
{

LimitTicket::LimitTicket(LimitTicket &&other) noexcept
    : limiter_(other.limiter_), principal_(other.principal_),
      stamp_(other.stamp_)
{
    other.limiter_ = nullptr;
}

LimitTicket &LimitTicket::operator=(LimitTicket &&other) noexcept
{
    if (this != &other) {
        limiter_ = other.limiter_;
        principal_ = other.principal_;
        stamp_ = other.stamp_;
        other.limiter_ = nullptr;
    }
    return *this;
}

void LimitTicket::refund()
{
    if (limiter_ == nullptr) {
        return;
    }
    Limiter *limiter = limiter_;
    limiter_ = nullptr;
    limiter->refund(*principal_, stamp_);
}

} // namespace llmproxy
