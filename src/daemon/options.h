#ifndef LLM_PROXY_DAEMON_OPTIONS_H
#define LLM_PROXY_DAEMON_OPTIONS_H

#include <string>

namespace llmproxy
{

// Exit codes, as sysexits(3) has them.
enum ExitCode {
    kExitOk = 0,
    kExitUsage = 64,
    kExitNoInput = 66,
    kExitSoftware = 70,
    kExitOs = 71,
    kExitCannotCreate = 73,
    kExitPermission = 77,
    kExitConfig = 78,
};

struct Options {
    std::string config_path; // empty = the default one, where it exists
    bool test = false;
    bool dump = false;
    bool version = false;
    bool help = false;
};

// False: the words are off; a line on stderr has said why.
bool parse_options(int argc, char **argv, Options &out);
void print_usage();
void print_version();

} // namespace llmproxy

#endif
