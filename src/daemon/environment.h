#ifndef LLM_PROXY_SRC_DAEMON_ENVIRONMENT_H
#define LLM_PROXY_SRC_DAEMON_ENVIRONMENT_H

#include "llm_proxy/config/settings.h"

#include <cstdint>
#include <string>

namespace llmproxy
{

// As the process has it.
Environment read_environment();
// Empty if it is not there.
std::string text_in(const Environment &environment, const char *name);
// 0 if it is not there, or no number.
uint64_t number_in(const Environment &environment, const char *name);

} // namespace llmproxy

#endif
