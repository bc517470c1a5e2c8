// The installed daemon's names: the system's.
#include "host_names.h"

namespace llmproxy
{

bool find_addresses(const std::string &host, std::vector<std::string> &out,
                    Error &err)
{
    return ask_system(host, out, err);
}

} // namespace llmproxy
