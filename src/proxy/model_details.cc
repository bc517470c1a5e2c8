// Single models of Ollama, asked for on demand and kept for a moment.
#include "llm_proxy/proxy/model_details.h"

#include "llm_proxy/base/log.h"

#include <algorithm>
#include <string>
#include <utility>

#include "transfer_error.h"

namespace llmproxy
{

namespace
{

constexpr int64_t kKeepMs = int64_t{10} * 1000;
constexpr int64_t kKeepFailureMs = 1000;
constexpr int64_t kAnswerTimeoutMs = 5000;
constexpr size_t kMaxEntries = 256;
constexpr size_t kMaxAsking = 8;

} // namespace

class ModelDetails::Entry final : private TransferSink, private LongJob
{
public:
    Entry(ModelDetails &owner, std::string_view url, std::string_view name)
        : owner_(owner), url_(url), name_(name)
    {
    }
    virtual ~Entry() = default;
    Entry(const Entry &) = delete;
    Entry &operator=(const Entry &) = delete;

    bool is(std::string_view url, std::string_view name) const
    {
        return url_ == url && name_ == name;
    }
    bool queued() const { return state_ == State::Queued; }
    bool known() const { return state_ == State::Known; }
    bool fresh() const { return owner_.clock_.mono_ms() < good_until_ms_; }
    bool in_use() const { return waiters != 0 || state_ == State::Asking; }
    const ModelDetail &detail() const { return detail_; }
    Cause cause() const { return cause_; }

    void queue(const std::shared_ptr<const Config> &config)
    {
        config_ = config;
        set_state(State::Queued);
    }

    void ask()
    {
        set_state(State::Asking);
        const BackendConfig &backend = asked();
        reader_ = std::make_unique<ModelDetailReader>(
            name_, backend.name, owner_.clock_.wall_ms() / 1000);
        TransferOptions options;
        options.connect_timeout_ms = config_->connect_timeout_ms;
        options.first_byte_timeout_ms =
            std::min(config_->first_byte_timeout_ms, kAnswerTimeoutMs);
        options.idle_timeout_ms = kAnswerTimeoutMs;
        options.gated = false; // it does not wait behind generations
        transfer_ = owner_.pool_.submit(
            backend, model_detail_request(name_, backend), options, *this);
    }

    size_t waiters = 0; // of owner_.waiting_

private:
    enum class State { Queued, Asking, Known };

    void set_state(State state) { state_ = state; }

    const BackendConfig &asked() const
    {
        return config_->backends[static_cast<size_t>(BackendKind::Ollama)];
    }

    Take on_upstream_head(const ReplyHead &head) override
    {
        return reader_->head(head) ? Take::Taken : Take::Abort;
    }

    Take on_upstream_data(std::string_view bytes) override
    {
        return reader_->data(bytes) ? Take::Taken : Take::Abort;
    }

    void on_upstream_turn() override {}

    void on_upstream_end(const TransferEnd &end) override
    {
        transfer_.reset();
        if (end.fault != TransferFault::None && !reader_->failed()) {
            detail_ = ModelDetail();
            detail_.error = transfer_error(end, asked());
            detail_.error.no_retry = false; // no generation was lost
            settle(transfer_cause(end.fault));
        } else if (reader_->size() > kLongWork) {
            owner_.helper_.run(*this);
        } else {
            work();
            on_worked();
        }
    }

    void work() override { detail_ = reader_->finish(); }

    void on_worked() override
    {
        if (!detail_.members.empty()) {
            settle(Cause::Done);
        } else if (detail_.error.kind == ApiErrorKind::ModelNotFound ||
                   detail_.error.kind == ApiErrorKind::InvalidRequest) {
            settle(Cause::ClientError); // it is the name that is wrong
        } else {
            settle(Cause::BackendError);
        }
    }

    void settle(Cause cause)
    {
        cause_ = cause;
        const bool lasts = cause == Cause::Done ||
                           detail_.error.kind == ApiErrorKind::ModelNotFound;
        good_until_ms_ =
            owner_.clock_.mono_ms() + (lasts ? kKeepMs : kKeepFailureMs);
        if (cause != Cause::Done && cause != Cause::ClientError) {
            log_warning("backend %s: no detail of a model: %s", asked().name,
                        api_error_code(detail_.error));
        }
        reader_.reset();
        config_.reset();
        set_state(State::Known);
        owner_.on_known();
    }

    ModelDetails &owner_;
    std::string url_;
    std::string name_;
    std::shared_ptr<const Config> config_; // pinned until it is known
    std::unique_ptr<UpstreamTransfer> transfer_;
    std::unique_ptr<ModelDetailReader> reader_;
    ModelDetail detail_;
    Cause cause_ = Cause::Done;
    int64_t good_until_ms_ = 0;
    State state_ = State::Queued;
};

ModelDetails::ModelDetails(EventLoop &loop, Helper &helper, UpstreamPool &pool,
                           const Clock &clock)
    : loop_(loop), helper_(helper), pool_(pool), clock_(clock)
{
    loop_.add_turn_end(*this);
}

ModelDetails::~ModelDetails()
{
    loop_.remove_turn_end(*this);
}

bool ModelDetails::get(uint64_t exchange_id,
                       const std::shared_ptr<const Config> &config,
                       std::string_view name, DetailClient &client)
{
    const std::string &url =
        config->backends[static_cast<size_t>(BackendKind::Ollama)].url.text;
    Entry *entry = find(url, name);
    if (entry == nullptr) {
        if (!make_room()) {
            return false;
        }
        entries_.push_front(std::make_unique<Entry>(*this, url, name));
        entry = entries_.front().get();
        entry->queue(config);
    } else if (entry->known() && !entry->in_use() && !entry->fresh()) {
        entry->queue(config);
    }
    entry->waiters++;
    waiting_[exchange_id] = {&client, entry};
    news_ = news_ || entry->known();
    ask_next();
    return true;
}

void ModelDetails::forget(uint64_t exchange_id)
{
    const std::map<uint64_t, Waiting>::iterator found =
        waiting_.find(exchange_id);
    if (found == waiting_.end()) {
        return;
    }
    Entry *entry = found->second.entry;
    waiting_.erase(found);
    entry->waiters--;
    if (entry->queued() && entry->waiters == 0) {
        entries_.remove_if([entry](const std::unique_ptr<Entry> &each) {
            return each.get() == entry;
        });
    }
}

// Makes it the one that was used last.
ModelDetails::Entry *ModelDetails::find(std::string_view url,
                                        std::string_view name)
{
    for (auto at = entries_.begin(); at != entries_.end(); ++at) {
        if ((*at)->is(url, name)) {
            entries_.splice(entries_.begin(), entries_, at);
            return entries_.front().get();
        }
    }
    return nullptr;
}

bool ModelDetails::make_room()
{
    if (entries_.size() < kMaxEntries) {
        return true;
    }
    for (auto at = entries_.rbegin(); at != entries_.rend(); ++at) {
        if (!(*at)->in_use()) {
            entries_.erase(std::prev(at.base()));
            return true;
        }
    }
    return false;
}

void ModelDetails::ask_next()
{
    for (auto at = entries_.rbegin();
         at != entries_.rend() && asking_ < kMaxAsking; ++at) {
        if ((*at)->queued()) {
            asking_++;
            (*at)->ask();
        }
    }
}

void ModelDetails::on_known()
{
    asking_--;
    news_ = true;
    ask_next();
}

bool ModelDetails::on_turn_end()
{
    if (!news_) {
        return false;
    }
    news_ = false;
    const uint64_t last = waiting_.empty() ? 0 : waiting_.rbegin()->first;
    // Those that a client adds, answered as it is, have their own turn.
    for (auto at = waiting_.begin();
         at != waiting_.end() && at->first <= last;) {
        const uint64_t id = at->first;
        const Waiting one = at->second;
        if (one.entry->known()) {
            waiting_.erase(at);
            one.client->on_detail(one.entry->detail(), one.entry->cause());
            one.entry->waiters--; // so long it stays as it is
        }
        at = waiting_.upper_bound(id);
    }
    return true;
}

} // namespace llmproxy
