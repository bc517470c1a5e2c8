#ifndef LLM_PROXY_DAEMON_OPTIONS_H
#define LLM_PROXY_DAEMON_OPTIONS_H

#include <string>

namespace llmproxy
{

// Exit codes, as sysexits(3) has them.
constexpr int kExitOk = 0;
constexpr int kExitUsage = 64;        // the command line is off
constexpr int kExitNoInput = 66;      // the file of -c cannot be read
constexpr int kExitUnavailable = 69;  // the store of the limits is not there
constexpr int kExitSoftware = 70;     // a library cannot be used
constexpr int kExitOs = 71;           // an address cannot be listened on
constexpr int kExitCannotCreate = 73; // a log or pid file cannot be made
constexpr int kExitRunning = 75;      // another one has the pid file
constexpr int kExitPermission = 77;   // an address is not ours to listen on
constexpr int kExitConfig = 78;       // the configuration is wrong

struct Options {
    std::string config_path; // empty = the default one, where it exists
    std::string pid_path;    // empty = none
    std::string user;        // empty = stays who it is
    std::string group;
    bool daemon = false;
    bool debug = false; // everything into the error log
    bool test = false;
    bool connect = false; // as part of the test
    bool dump = false;
    bool print_nginx = false;
    bool version = false;
    bool help = false;
};

// False: the words are off; a line on stderr has said why.
bool parse_options(int argc, char **argv, Options &out);
void print_usage();
void print_version();

} // namespace llmproxy

#endif
