// llm-proxyctl: options, one question to the daemon, its answer shown.
#include "llm_proxy/base/strings.h"
#include "llm_proxy/daemon/control_commands.h"
#include "llm_proxy/daemon/conventions.h"
#include "llm_proxy/json/value.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include <getopt.h>
#include <unistd.h>

#include "client.h"
#include "screen.h"
#include "table.h"
#include "text.h"

namespace
{

using namespace llmproxy;

struct Options {
    std::string socket;
    std::string config;
    uint64_t delay_s = 1;
    bool json = false;
    bool version = false;
    bool help = false;
};

// `code` is what to exit with.
int complain(int code, const std::string &message)
{
    (void)fprintf(stderr, "llm-proxyctl: %s\n", printable(message).c_str());
    if (code == kExitUsage) {
        (void)fprintf(stderr, "Try 'llm-proxyctl --help'.\n");
    }
    return code;
}

bool parse_options(int argc, char **argv, Options &out)
{
    static const option long_options[] = {
        {"socket", required_argument, nullptr, 's'},
        {"config", required_argument, nullptr, 'c'},
        {"delay", required_argument, nullptr, 'd'},
        {"json", no_argument, nullptr, 'j'},
        {"version", no_argument, nullptr, 'V'},
        {"help", no_argument, nullptr, 'h'},
        {nullptr, 0, nullptr, 0},
    };
    int c;
    // Called once; there is one thread.
    // NOLINTNEXTLINE(concurrency-mt-unsafe)
    while ((c = getopt_long(argc, argv, "s:c:d:jVh", long_options, nullptr)) !=
           -1) {
        switch (c) {
        case 's':
            out.socket = optarg;
            break;
        case 'c':
            out.config = optarg;
            break;
        case 'd':
            if (!parse_u64(optarg, out.delay_s) || out.delay_s == 0 ||
                out.delay_s > 3600) {
                (void)complain(kExitUsage, "a delay is 1 to 3600 seconds");
                return false;
            }
            break;
        case 'j':
            out.json = true;
            break;
        case 'V':
            out.version = true;
            break;
        case 'h':
            out.help = true;
            break;
        default:
            (void)fprintf(stderr, "Try 'llm-proxyctl --help'.\n");
            return false;
        }
    }
    return true;
}

void print_usage()
{
    (void)printf("Usage: llm-proxyctl [-j] [-s socket | -c file] command\n"
                 "Asks a running llm-proxyd, or tells it what to do.\n"
                 "\n");
    for (const ControlCommandRow &row : kControlCommands) {
        std::string name = row.name;
        name += *row.arguments == '\0' ? "" : " ";
        name += row.arguments;
        (void)printf("  %-20s %s\n", name.c_str(), row.help);
    }
    (void)printf(
        "\n"
        "  -s, --socket PATH    the daemon's CONTROL_SOCKET\n"
        "  -c, --config FILE    or the settings that name it (default\n"
        "                       %s)\n"
        "  -j, --json           print the daemon's JSON document\n"
        "  -d, --delay SECONDS  between two looks of top (1)\n"
        "  -V, --version        print the version and exit\n"
        "  -h, --help           print this and exit\n"
        "\n"
        "See llm-proxyctl(1).\n",
        kDefaultConfig);
}

// Of an answer that came whole: what to exit with, and words about it.
int judge(const json_t *answer)
{
    bool ok = false;
    if (json::get_bool(answer, "ok", ok) && ok) {
        std::string late;
        for (json_t *worker :
             json::elements(json::get(answer, "late_workers"))) {
            late += late.empty() ? "" : ", ";
            late += json::dump(worker);
        }
        return late.empty() ? kExitOk
                            : complain(kExitPartial,
                                       "worker " + late +
                                           " did not answer in time: what it "
                                           "does is not shown");
    }
    int64_t code = kExitSoftware;
    std::string_view error = "the daemon's answer is not understood";
    (void)json::get_int(answer, "code", code);
    (void)json::get_string(answer, "error", error);
    for (json_t *each : json::elements(json::get(answer, "errors"))) {
        (void)fprintf(stderr, "%s\n", printable(json::string_of(each)).c_str());
    }
    return complain(static_cast<int>(code), std::string(error));
}

bool ask(const std::string &socket, const std::string &line,
         std::string &answer, json::Ptr &parsed, CtlError &err)
{
    Error why;
    if (!ask_daemon(socket, line, answer, err)) {
        return false;
    }
    if (!json::parse(answer, parsed, why)) {
        err.code = kExitSoftware;
        err.message = "the daemon's answer is not understood: " + why.message;
        return false;
    }
    return true;
}

// Looks again and again until a key ends it.
int watch(const std::string &socket, const Options &options)
{
    CtlError err;
    int code = kExitOk;
    std::unique_ptr<Screen> screen; // once there is something to show
    for (Key key = Key::None; key != Key::Quit;) {
        std::string answer;
        json::Ptr parsed;
        if (!ask(socket, "top", answer, parsed, err)) {
            code = err.code;
            break;
        }
        if (screen == nullptr) {
            screen = std::make_unique<Screen>();
        }
        const TopText text = show_top(parsed.get());
        do {
            screen->draw(text);
            key = screen->wait(static_cast<int64_t>(options.delay_s) * 1000);
        } while (key == Key::Resized);
    }
    screen.reset(); // words below it are to stay
    return code == kExitOk ? code : complain(code, err.message);
}

int run(const ControlRequest &request, const Options &options)
{
    std::string socket;
    CtlError err;
    if (!find_socket(options.socket, options.config, socket, err)) {
        return complain(err.code, err.message);
    }
    if (request.row->command == ControlCommand::Top && !options.json &&
        isatty(STDOUT_FILENO) == 1 && isatty(STDIN_FILENO) == 1) {
        return watch(socket, options);
    }
    std::string line = request.row->name;
    for (const std::string &argument : request.arguments) {
        line += " " + argument;
    }
    std::string answer;
    json::Ptr parsed;
    if (!ask(socket, line, answer, parsed, err)) {
        return complain(err.code, err.message);
    }
    bool ok = false;
    if (options.json) {
        (void)fputs(answer.c_str(), stdout);
    } else if (json::get_bool(parsed.get(), "ok", ok) && ok) {
        for (const std::string &text :
             show(request.row->command, parsed.get())) {
            (void)printf("%s\n", text.c_str());
        }
    }
    (void)fflush(stdout); // before what is said of it
    return judge(parsed.get());
}

int run_words(int argc, char **argv)
{
    Options options;
    if (!parse_options(argc, argv, options)) {
        return kExitUsage;
    }
    if (options.help) {
        print_usage();
        return kExitOk;
    }
    if (options.version) {
        (void)printf("llm-proxyctl %s\n", LLMPROXY_VERSION);
        return kExitOk;
    }
    json::init();
    std::vector<std::string_view> words;
    for (int i = optind; i < argc; i++) {
        for (const std::string_view word : split_list(argv[i], ' ')) {
            words.push_back(word);
        }
    }
    ControlRequest request;
    Error err;
    if (!parse_control(words, request, err)) {
        return complain(kExitUsage, err.message);
    }
    return run(request, options);
}

} // namespace

int main(int argc, char **argv)
{
    const int code = run_words(argc, argv);
    // Half a document would look like a whole one.
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        return complain(kExitOs,
                        std::string("standard output: ") + strerror(errno));
    }
    return code;
}
