// The command line.
#include "options.h"

#include "llm_proxy/limit/redis_limiter.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <cstdio>

#include <getopt.h>

#include <event2/event.h>

namespace llmproxy
{

bool parse_options(int argc, char **argv, Options &out)
{
    static const option long_options[] = {
        {"config", required_argument, nullptr, 'c'},
        {"test-config", no_argument, nullptr, 't'},
        {"connect", no_argument, nullptr, 'C'},
        {"dump-config", no_argument, nullptr, 'T'},
        {"print-nginx", no_argument, nullptr, 'N'},
        {"version", no_argument, nullptr, 'V'},
        {"help", no_argument, nullptr, 'h'},
        {nullptr, 0, nullptr, 0},
    };
    int c;
    // Called once, before any thread exists.
    // NOLINTNEXTLINE(concurrency-mt-unsafe)
    while ((c = getopt_long(argc, argv, "c:tTVh", long_options, nullptr)) !=
           -1) {
        switch (c) {
        case 'c':
            out.config_path = optarg;
            break;
        case 't':
            out.test = true;
            break;
        case 'C': // has no short form
            out.connect = true;
            break;
        case 'T':
            out.dump = true;
            break;
        case 'N': // has no short form
            out.print_nginx = true;
            break;
        case 'V':
            out.version = true;
            break;
        case 'h':
            out.help = true;
            break;
        default:
            (void)fprintf(stderr, "Try 'llm-proxyd --help'.\n");
            return false;
        }
    }
    if (out.connect && !out.test) {
        (void)fprintf(stderr, "llm-proxyd: --connect is a part of -t\n"
                              "Try 'llm-proxyd --help'.\n");
        return false;
    }
    if (optind < argc) {
        (void)fprintf(stderr,
                      "llm-proxyd: unexpected argument '%s'\n"
                      "Try 'llm-proxyd --help'.\n",
                      argv[optind]);
        return false;
    }
    return true;
}

void print_usage()
{
    (void)printf(
        "Usage: llm-proxyd [-c file] [-t [--connect] | -T | --print-nginx |\n"
        "                  -V | -h]\n"
        "One OpenAI-compatible address in front of a site's model servers.\n"
        "\n"
        "  -c, --config FILE   read settings from FILE (default\n"
        "                      /etc/llm-proxy/llm-proxy.conf if it exists);\n"
        "                      the environment overrides it\n"
        "  -t, --test-config   check the configuration and exit\n"
        "      --connect       with -t: also log in to the Redis server that\n"
        "                      counts limits, and run the script there\n"
        "  -T, --dump-config   check it, print the effective settings with\n"
        "                      secrets masked, and exit\n"
        "      --print-nginx   check it, print a server for nginx that stands\n"
        "                      in front of this daemon, and exit\n"
        "  -V, --version       print the versions of the program and of its\n"
        "                      libraries and exit\n"
        "  -h, --help          print this and exit\n"
        "\n"
        "Signals: HUP reloads, TERM and QUIT finish what runs and end, INT\n"
        "ends within a second. See llm-proxyd(8), llm-proxy.conf(5).\n");
}

void print_version()
{
    (void)printf("llm-proxyd %s\n%s\nlibevent/%s\n%s\n", LLMPROXY_VERSION,
                 UpstreamPool::version().c_str(), event_get_version(),
                 redis_version().c_str());
}

} // namespace llmproxy
