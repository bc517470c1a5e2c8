// The models of all backends, fetched on demand and kept for a moment.
#include "llm_proxy/proxy/model_catalog.h"

#include "llm_proxy/base/clock.h"
#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <utility>

namespace llmproxy
{

namespace
{

constexpr int64_t kKeepMs = int64_t{10} * 1000;
constexpr int64_t kKeepFailureMs = 1000;
constexpr int64_t kListTimeoutMs = 5000;
constexpr size_t kMaxList = size_t{8} * 1024 * 1024;

} // namespace

class ModelCatalog::Fetch final : private TransferSink, private LongJob
{
public:
    Fetch(EventLoop &loop, Helper &helper, UpstreamPool &pool)
        : loop_(loop), helper_(helper), pool_(pool)
    {
    }
    virtual ~Fetch() = default;
    Fetch(const Fetch &) = delete;
    Fetch &operator=(const Fetch &) = delete;

    bool running() const { return config_ != nullptr; }
    // How many were begun, and how many of them have ended.
    uint64_t begun() const { return begun_; }
    uint64_t ended() const { return running() ? begun_ - 1 : begun_; }
    bool fresh(const BackendConfig &backend) const
    {
        return !running() && checked_ms_ != -1 && url_ == backend.url.text &&
               loop_.now_ms() - checked_ms_ <
                   (known_ ? kKeepMs : kKeepFailureMs);
    }
    bool known() const { return known_; }
    const std::vector<ModelEntry> &entries() const { return entries_; }

    void start(const std::shared_ptr<const Config> &config, BackendKind kind)
    {
        config_ = config;
        begun_++;
        backend_ = &config->backends[static_cast<size_t>(kind)];
        url_ = backend_->url.text;
        status_ = 0;
        body_.clear();
        UpstreamRequest request;
        request.post = false;
        request.path = model_list_path(kind);
        request.headers.emplace_back("Accept: application/json");
        if (!backend_->api_key.empty()) {
            request.headers.push_back("Authorization: Bearer " +
                                      backend_->api_key);
        }
        TransferOptions options;
        options.connect_timeout_ms = config->connect_timeout_ms;
        options.first_byte_timeout_ms = kListTimeoutMs;
        options.idle_timeout_ms = kListTimeoutMs;
        options.gated = false; // a list does not wait behind generations
        transfer_ = pool_.submit(*backend_, std::move(request), options, *this);
    }

private:
    Take on_upstream_head(const ReplyHead &head) override
    {
        status_ = head.status;
        return Take::Taken;
    }

    Take on_upstream_data(std::string_view bytes) override
    {
        if (body_.size() + bytes.size() > kMaxList) {
            return Take::Abort;
        }
        body_.append(bytes);
        return Take::Taken;
    }

    void on_upstream_turn() override {}

    void on_upstream_end(const TransferEnd &end) override
    {
        transfer_.reset();
        read_ = Reading();
        if (end.fault != TransferFault::None) {
            read_.error.message = end.detail.empty() ? "no answer" : end.detail;
        } else if (status_ != 200) {
            read_.error.message = "status " + std::to_string(status_);
        } else if (body_.size() > kLongWork) {
            helper_.run(*this);
            return;
        } else {
            work();
        }
        on_worked();
    }

    void work() override
    {
        read_.ok = parse_model_list(backend_->kind, body_,
                                    SystemClock().wall_ms() / 1000,
                                    read_.entries, read_.error);
    }

    void on_worked() override
    {
        known_ = read_.ok;
        if (!known_) {
            log_warning("backend %s: no model list: %s", backend_->name,
                        read_.error.message.c_str());
        }
        entries_ = std::move(read_.entries);
        free_text(body_);
        checked_ms_ = loop_.now_ms();
        config_.reset();
    }

    // What came of the list, before it is shown to anyone.
    struct Reading {
        bool ok = false;
        std::vector<ModelEntry> entries;
        Error error;
    };

    EventLoop &loop_;
    Helper &helper_;
    UpstreamPool &pool_;
    std::shared_ptr<const Config> config_; // pinned while running
    const BackendConfig *backend_ = nullptr;
    std::unique_ptr<UpstreamTransfer> transfer_;
    std::vector<ModelEntry> entries_;
    Reading read_;
    std::string body_;
    std::string url_; // where the list is from
    int64_t checked_ms_ = -1;
    uint64_t begun_ = 0;
    int status_ = 0;
    bool known_ = false;
};

ModelCatalog::ModelCatalog(EventLoop &loop, Helper &helper, UpstreamPool &pool)
    : loop_(loop)
{
    for (std::unique_ptr<Fetch> &fetch : fetches_) {
        fetch = std::make_unique<Fetch>(loop, helper, pool);
    }
    loop_.add_turn_end(*this);
}

ModelCatalog::~ModelCatalog()
{
    loop_.remove_turn_end(*this);
}

void ModelCatalog::get(uint64_t exchange_id,
                       const std::shared_ptr<const Config> &config,
                       CatalogClient &client)
{
    Waiting &waiting = waiting_[exchange_id];
    waiting.client = &client;
    for (size_t i = 0; i < kBackends; i++) {
        if (!fetches_[i]->running() &&
            !fetches_[i]->fresh(config->backends[i])) {
            fetches_[i]->start(config, static_cast<BackendKind>(i));
        }
        waiting.needs[i] = fetches_[i]->begun();
    }
}

bool ModelCatalog::has_all(const Waiting &waiting) const
{
    for (size_t i = 0; i < kBackends; i++) {
        if (fetches_[i]->ended() < waiting.needs[i]) {
            return false;
        }
    }
    return true;
}

void ModelCatalog::forget(uint64_t exchange_id)
{
    waiting_.erase(exchange_id);
}

bool ModelCatalog::known(BackendKind kind) const
{
    return fetches_[static_cast<size_t>(kind)]->known();
}

const std::vector<ModelEntry> &ModelCatalog::entries(BackendKind kind) const
{
    return fetches_[static_cast<size_t>(kind)]->entries();
}

bool ModelCatalog::on_turn_end()
{
    std::vector<CatalogClient *> ready;
    for (auto at = waiting_.begin(); at != waiting_.end();) {
        if (has_all(at->second)) {
            ready.push_back(at->second.client);
            at = waiting_.erase(at);
        } else {
            ++at;
        }
    }
    for (CatalogClient *client : ready) {
        client->on_catalog();
    }
    return !ready.empty();
}

} // namespace llmproxy
