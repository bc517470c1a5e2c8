#ifndef LLM_PROXY_PROXY_TRUST_H
#define LLM_PROXY_PROXY_TRUST_H

#include "llm_proxy/config/settings.h"
#include "llm_proxy/http/message.h"

#include <string_view>

namespace llmproxy
{

// `peer` is in TRUSTED_PROXIES: "192.0.2.1:80", "[fd00::1]:80"; "unix" is
// whoever may open the socket, and trusted.
bool is_trusted_proxy(const Config &config, std::string_view peer);
// May use the endpoints that are not for clients: a trusted proxy, or somebody
// on this machine who is none (a request that was forwarded says so).
bool is_admin_peer(const Config &config, std::string_view peer,
                   const RequestHead &head);

} // namespace llmproxy

#endif
