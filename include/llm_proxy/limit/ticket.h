#ifndef LLM_PROXY_LIMIT_TICKET_H
#define LLM_PROXY_LIMIT_TICKET_H

#include "llm_proxy/limit/limiter.h"

namespace llmproxy
{

// One unit that an exchange holds. It stays spent unless refund() is called
// before the ticket ends; refund() counts once.
class LimitTicket
{
public:
    LimitTicket() = default;
    // The limiter and the principal outlive the ticket.
    LimitTicket(Limiter &limiter, const Principal &principal,
                const LimitStamp &stamp)
        : limiter_(&limiter), principal_(&principal), stamp_(stamp)
    {
    }
    LimitTicket(LimitTicket &&other) noexcept;
    LimitTicket &operator=(LimitTicket &&other) noexcept;
    LimitTicket(const LimitTicket &) = delete;
    LimitTicket &operator=(const LimitTicket &) = delete;
    ~LimitTicket() = default;

    bool held() const { return limiter_ != nullptr; }
    void refund();

private:
    Limiter *limiter_ = nullptr;
    const Principal *principal_ = nullptr;
    LimitStamp stamp_;
};

} // namespace llmproxy

#endif
