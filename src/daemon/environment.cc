// The environment as a map.
#include "environment.h"

#include "llm_proxy/base/strings.h"

#include <cstring>

#include <unistd.h>

namespace llmproxy
{

Environment read_environment()
{
    Environment environment;
    for (char **entry = environ; *entry != nullptr; entry++) {
        const char *equals = strchr(*entry, '=');
        if (equals != nullptr) {
            environment[std::string(
                *entry, static_cast<size_t>(equals - *entry))] = equals + 1;
        }
    }
    return environment;
}

std::string text_in(const Environment &environment, const char *name)
{
    const Environment::const_iterator found = environment.find(name);
    return found == environment.end() ? "" : found->second;
}

uint64_t number_in(const Environment &environment, const char *name)
{
    uint64_t number = 0;
    return parse_u64(text_in(environment, name), number) ? number : 0;
}

} // namespace llmproxy
