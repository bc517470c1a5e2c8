#ifndef LLM_PROXY_PROXY_MODEL_DETAILS_H
#define LLM_PROXY_PROXY_MODEL_DETAILS_H

#include "llm_proxy/adapt/model_detail.h"
#include "llm_proxy/base/clock.h"
#include "llm_proxy/config/settings.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/loop/helper.h"
#include "llm_proxy/proxy/access_log.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string_view>

namespace llmproxy
{

class DetailClient
{
public:
    // What there is to say, during the call; `cause` is how an exchange ends
    // that says it. From the loop, never from inside get(), once.
    virtual void on_detail(const ModelDetail &detail, Cause cause) = 0;

protected:
    ~DetailClient() = default;
};

// What Ollama says of single models: asked when somebody wants to know, once
// for all who want to know it at a time, and kept for 10 s (a failure for
// 1 s). The 256 models that were last asked for. One per worker.
class ModelDetails final : private TurnEndHandler
{
public:
    // All references outlive it.
    ModelDetails(EventLoop &loop, Helper &helper, UpstreamPool &pool,
                 const Clock &clock);
    ~ModelDetails();
    ModelDetails(const ModelDetails &) = delete;
    ModelDetails &operator=(const ModelDetails &) = delete;

    // Answers through the client, which must call forget() if it goes first.
    // False: too many models are being asked for.
    [[nodiscard]] bool get(uint64_t exchange_id,
                           const std::shared_ptr<const Config> &config,
                           std::string_view name, DetailClient &client);
    void forget(uint64_t exchange_id);

private:
    class Entry; // one model of one backend

    struct Waiting {
        DetailClient *client;
        Entry *entry;
    };

    bool on_turn_end() override;
    Entry *find(std::string_view url, std::string_view name);
    [[nodiscard]] bool make_room();
    void ask_next();
    void on_known();

    EventLoop &loop_;
    Helper &helper_;
    UpstreamPool &pool_;
    const Clock &clock_;
    std::list<std::unique_ptr<Entry>> entries_; // the one used last is first
    std::map<uint64_t, Waiting> waiting_;
    size_t asking_ = 0; // entries whose answer is on its way
    bool news_ = false; // somebody's entry is known
};

} // namespace llmproxy

#endif
