#ifndef LLM_PROXY_SRC_DAEMON_HOST_NAMES_H
#define LLM_PROXY_SRC_DAEMON_HOST_NAMES_H

#include "llm_proxy/base/error.h"

#include <string>
#include <vector>

namespace llmproxy
{

// The numeric addresses of a host, at least one. May take half a minute; any
// thread. The installed daemon asks the system, llm-proxyd-test a file first.
[[nodiscard]] bool find_addresses(const std::string &host,
                                  std::vector<std::string> &out, Error &err);
// The system's answer.
[[nodiscard]] bool ask_system(const std::string &host,
                              std::vector<std::string> &out, Error &err);

} // namespace llmproxy

#endif
