// The pool of one worker as others see it.
#include "llm_proxy/upstream/upstream_pool.h"

#include <utility>

#include "upstream_pool_impl.h"

namespace llmproxy
{

UpstreamPool::UpstreamPool(EventLoop &loop, BackendGate *gates)
    : impl_(std::make_unique<Impl>(loop, gates))
{
}

UpstreamPool::~UpstreamPool() = default;

std::unique_ptr<UpstreamTransfer>
UpstreamPool::submit(const BackendConfig &backend, UpstreamRequest request,
                     const TransferOptions &options, TransferSink &sink)
{
    const uint64_t id =
        impl_->submit(backend, std::move(request), options, sink);
    return std::unique_ptr<UpstreamTransfer>(new UpstreamTransfer(*this, id));
}

UpstreamTransfer::~UpstreamTransfer()
{
    pool_.impl_->cancel(id_);
}

void UpstreamTransfer::resume()
{
    pool_.impl_->resume(id_);
}

void UpstreamTransfer::let_finish(std::unique_ptr<UpstreamTransfer> transfer)
{
    if (transfer != nullptr) {
        transfer->pool_.impl_->let_finish(transfer->id_);
        transfer->id_ = 0;
    }
}

const TransferTimes &UpstreamTransfer::times() const
{
    static const TransferTimes none;
    const Transfer *transfer = pool_.impl_->find(id_);
    return transfer == nullptr ? none : transfer->times();
}

bool UpstreamTransfer::answering() const
{
    const Transfer *transfer = pool_.impl_->find(id_);
    return transfer != nullptr && transfer->times().head_ms != -1 &&
           transfer->request_sent();
}

bool UpstreamTransfer::reached() const
{
    const Transfer *transfer = pool_.impl_->find(id_);
    return transfer != nullptr && transfer->reached();
}

} // namespace llmproxy
