#ifndef LLM_PROXY_DAEMON_OPTIONS_H
#define LLM_PROXY_DAEMON_OPTIONS_H

#include "llm_proxy/daemon/conventions.h"

#include <string>

namespace llmproxy
{

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
    bool hash_token = false;
    std::string health_url; // empty = no health check
    bool version = false;
    bool help = false;
};

// False: the words are off; a line on stderr has said why.
bool parse_options(int argc, char **argv, Options &out);
void print_usage();
void print_version();

} // namespace llmproxy

#endif
