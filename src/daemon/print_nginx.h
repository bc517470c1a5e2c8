#ifndef LLM_PROXY_DAEMON_PRINT_NGINX_H
#define LLM_PROXY_DAEMON_PRINT_NGINX_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/config/settings.h"

#include <string>

namespace llmproxy
{

// A server for nginx's http {} that stands in front of a daemon with these
// settings. False if it listens nowhere that could be written down.
[[nodiscard]] bool nginx_server(const Config &config, std::string &out,
                                Error &err);

} // namespace llmproxy

#endif
