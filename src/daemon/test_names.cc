// The names of llm-proxyd-test, never installed: the file that
// LLM_PROXY_NAMES_FILE names has lines of a name and its address, so that
// tests move servers. An address of "..." is one that the name server has not
// said yet.
#include <cstdio>
#include <cstdlib>

#include <poll.h>

#include "host_names.h"

namespace llmproxy
{

namespace
{

std::string listed_address(const std::string &host)
{
    // Nobody changes the environment.
    // NOLINTNEXTLINE(concurrency-mt-unsafe)
    const char *path = getenv("LLM_PROXY_NAMES_FILE");
    FILE *file = path == nullptr ? nullptr : fopen(path, "re");
    std::string found;
    if (file != nullptr) {
        char name[256];
        char address[64];
        while (found.empty() &&
               fscanf(file, "%255s %63s", name, address) == 2) {
            if (name == host) {
                found = address;
            }
        }
        (void)fclose(file);
    }
    return found;
}

} // namespace

bool find_addresses(const std::string &host, std::vector<std::string> &out,
                    Error &err)
{
    std::string address = listed_address(host);
    while (address == "...") {
        (void)poll(nullptr, 0, 10);
        address = listed_address(host);
    }
    if (address.empty()) {
        return ask_system(host, out, err);
    }
    out = {address};
    return true;
}

} // namespace llmproxy
