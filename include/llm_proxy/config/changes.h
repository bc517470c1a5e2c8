#ifndef LLM_PROXY_CONFIG_CHANGES_H
#define LLM_PROXY_CONFIG_CHANGES_H

#include "llm_proxy/config/settings.h"

#include <string>
#include <vector>

namespace llmproxy
{

// What tells one configuration from another, for whoever asked for a reload.
// Names of settings in the table's order, labels in that of the tokens.
struct ConfigChanges {
    std::vector<std::string> settings; // are taken over
    std::vector<std::string> restart;  // stay as they are until a restart
    std::vector<std::string> tokens_added;
    std::vector<std::string> tokens_removed;
    std::vector<std::string> tokens_changed; // the secret, limits, models...
};

// Values are compared as they were written, those of secrets as well; what is
// in a file that a setting names only for TOKENS_FILE.
ConfigChanges compare_configs(const Config &running, const Config &wanted);
// "changed: A, B; tokens added: x; ..." or "nothing has changed"; of many
// tokens the first few. What needs a restart is not in it.
std::string to_string(const ConfigChanges &changes);
// Gives `wanted` the running values of what takes a restart, so that the next
// reload names it again.
void keep_until_restart(const Config &running, Config &wanted);

} // namespace llmproxy

#endif
