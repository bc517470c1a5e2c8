// The command line.
#include "options.h"

#include "llm_proxy/base/digest.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/http/http_parser.h"
#include "llm_proxy/json/value.h"
#include "llm_proxy/limit/redis_limiter.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <cstdio>

#include <getopt.h>

#include <event2/event.h>

namespace llmproxy
{

namespace
{

bool fits_together(const Options &options)
{
    if (options.connect && !options.test) {
        (void)fprintf(stderr, "llm-proxyd: --connect is a part of -t\n"
                              "Try 'llm-proxyd --help'.\n");
        return false;
    }
    return true;
}

bool nothing_is_left(int argc, char **argv)
{
    if (optind < argc) {
        (void)fprintf(stderr,
                      "llm-proxyd: unexpected argument '%s'\n"
                      "Try 'llm-proxyd --help'.\n",
                      argv[optind]);
        return false;
    }
    return true;
}

} // namespace

bool parse_options(int argc, char **argv, Options &out)
{
    static const option long_options[] = {
        {"config", required_argument, nullptr, 'c'},
        {"daemon", no_argument, nullptr, 'd'},
        {"foreground", no_argument, nullptr, 'f'},
        {"debug", no_argument, nullptr, 'D'},
        {"pid-file", required_argument, nullptr, 'p'},
        {"user", required_argument, nullptr, 'u'},
        {"group", required_argument, nullptr, 'g'},
        {"test-config", no_argument, nullptr, 't'},
        {"connect", no_argument, nullptr, 'C'},
        {"dump-config", no_argument, nullptr, 'T'},
        {"print-nginx", no_argument, nullptr, 'N'},
        {"hash-token", no_argument, nullptr, 'H'},
        {"healthcheck", required_argument, nullptr, 'K'},
        {"version", no_argument, nullptr, 'V'},
        {"help", no_argument, nullptr, 'h'},
        {nullptr, 0, nullptr, 0},
    };
    int c;
    // Called once, before any thread exists.
    // NOLINTNEXTLINE(concurrency-mt-unsafe)
    while ((c = getopt_long(argc, argv, "c:dfp:u:g:tTVh", long_options,
                            nullptr)) != -1) {
        switch (c) {
        case 'c':
            out.config_path = optarg;
            break;
        case 'd':
            out.daemon = true;
            break;
        case 'f':
            out.daemon = false;
            break;
        case 'D': // has no short form
            out.daemon = false;
            out.debug = true;
            break;
        case 'p':
            out.pid_path = optarg;
            break;
        case 'u':
            out.user = optarg;
            break;
        case 'g':
            out.group = optarg;
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
        case 'H': // has no short form
            out.hash_token = true;
            break;
        case 'K': // has no short form
            out.health_url = optarg;
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
    return fits_together(out) && nothing_is_left(argc, argv);
}

void print_usage()
{
    (void)printf(
        "Usage: llm-proxyd [option ...]\n"
        "One OpenAI-compatible address in front of a site's model servers.\n"
        "\n"
        "  -c, --config FILE    settings (else, if it exists,\n"
        "                       %s);\n"
        "                       the environment overrides them\n"
        "  -d, --daemon         go into the background once it serves\n"
        "  -f, --foreground     stay in the foreground, as without -d\n"
        "      --debug          the same, with LOG_LEVEL=debug\n"
        "  -p, --pid-file FILE  lock FILE and write the process id into it\n"
        "  -u, --user USER      become USER for good, once it listens\n"
        "  -g, --group GROUP    and GROUP, if not the user's own\n"
        "  -t, --test-config    check the configuration and exit\n"
        "      --connect        with -t: try the Redis server of limits, too\n"
        "  -T, --dump-config    print the settings, secrets masked, and exit\n"
        "      --print-nginx    print a server for an nginx in front, and "
        "exit\n"
        "      --hash-token     read a token, print its token_sha256, and "
        "exit\n"
        "      --healthcheck URL  exit with 0 if a daemon answers there\n"
        "  -V, --version        print the program's and its libraries' "
        "versions\n"
        "  -h, --help           print this\n"
        "\n"
        "Signals: HUP reload, USR1 reopen logs, USR2 upgrade, WINCH stop "
        "accepting,\n"
        "TERM and QUIT finish what runs and end, INT end within a second.\n"
        "See llm-proxyd(8), llm-proxy.conf(5).\n",
        kDefaultConfig);
}

void print_version()
{
    (void)printf("llm-proxyd %s\n", LLMPROXY_VERSION);
    for (const std::string &library :
         {library_version("libevent", event_get_version(), LIBEVENT_VERSION),
          UpstreamPool::version(), json::version(), redis_version(),
          crypto_version(), HttpParser::version()}) {
        (void)printf("%s\n", library.c_str());
    }
}

} // namespace llmproxy
