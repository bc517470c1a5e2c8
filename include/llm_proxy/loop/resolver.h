#ifndef LLM_PROXY_LOOP_RESOLVER_H
#define LLM_PROXY_LOOP_RESOLVER_H

#include "llm_proxy/base/error.h"

#include <string>
#include <vector>

namespace llmproxy
{

class ResolverClient
{
public:
    // From the loop, once for each look_up(): at least one numeric address,
    // or none and why.
    virtual void on_addresses(std::vector<std::string> addresses,
                              const Error &err) = 0;

protected:
    ~ResolverClient() = default;
};

// Looks a host's name up beside the loop, for as long as the system takes for
// it. One client's at a time; from the loop's thread only.
class Resolver
{
public:
    virtual ~Resolver() = default;
    // A name that is being looked up already is not asked for again. The
    // client outlives the answer, or says forget().
    virtual void look_up(const std::string &host, ResolverClient &client) = 0;
    virtual void forget(ResolverClient &client) = 0;
};

} // namespace llmproxy

#endif
