#ifndef LLM_PROXY_PROXY_MODEL_CATALOG_H
#define LLM_PROXY_PROXY_MODEL_CATALOG_H

#include "llm_proxy/adapt/model_list.h"
#include "llm_proxy/config/settings.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/loop/helper.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace llmproxy
{

class CatalogClient
{
public:
    // The lists are as fresh as they get. From the loop, never from inside
    // get(), once.
    virtual void on_catalog() = 0;

protected:
    ~CatalogClient() = default;
};

// What models the backends have, as they say themselves: asked when somebody
// wants to know, kept for 10 s (a failure for 1 s). One per worker.
class ModelCatalog final : private TurnEndHandler
{
public:
    ModelCatalog(EventLoop &loop, Helper &helper, UpstreamPool &pool);
    ~ModelCatalog();
    ModelCatalog(const ModelCatalog &) = delete;
    ModelCatalog &operator=(const ModelCatalog &) = delete;

    // Answers through the client, which must call forget() if it goes first.
    void get(uint64_t exchange_id, const std::shared_ptr<const Config> &config,
             CatalogClient &client);
    void forget(uint64_t exchange_id);

    // Valid in on_catalog().
    bool known(BackendKind kind) const;
    const std::vector<ModelEntry> &entries(BackendKind kind) const;

private:
    class Fetch; // one backend's list on its way
    // Waits for the lists that were on their way when it came, not for those
    // that others ask for later.
    struct Waiting {
        CatalogClient *client = nullptr;
        uint64_t needs[kBackends] = {};
    };

    bool has_all(const Waiting &waiting) const;
    bool on_turn_end() override;

    EventLoop &loop_;
    std::unique_ptr<Fetch> fetches_[kBackends];
    std::map<uint64_t, Waiting> waiting_;
};

} // namespace llmproxy

#endif
