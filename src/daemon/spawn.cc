// Starts a program from a process with threads.
#include "spawn.h"

#include "llm_proxy/base/fd.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

constexpr int kFirst = 3;
// No source is among the numbers that are given to the child.
constexpr int kHigh = 100;

std::vector<char *> pointers(std::vector<std::string> &texts)
{
    std::vector<char *> all;
    all.reserve(texts.size() + 1);
    for (std::string &text : texts) {
        all.push_back(text.data());
    }
    all.push_back(nullptr);
    return all;
}

int start(const Program &program, const std::vector<int> &sources,
          posix_spawn_file_actions_t &actions, posix_spawnattr_t &attributes,
          pid_t &child)
{
    int code = 0;
    for (size_t i = 0; i < sources.size() && code == 0; i++) {
        const int target =
            i == 0 ? STDERR_FILENO : kFirst - 1 + static_cast<int>(i);
        code = posix_spawn_file_actions_adddup2(&actions, sources[i], target);
    }
    // Some of libcurl's and hiredis' are not closed on exec. Where the C
    // library cannot, the new process does.
#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 34)
    if (code == 0) {
        code = posix_spawn_file_actions_addclosefrom_np(
            &actions, kFirst - 1 + static_cast<int>(sources.size()));
    }
#endif
#endif
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    std::vector<std::string> arguments = program.arguments;
    std::vector<std::string> environment;
    for (const auto &[name, value] : program.environment) {
        environment.push_back(name);
        environment.back() += '=';
        environment.back() += value;
    }
    if (code == 0) {
        code = posix_spawn(&child, program.path.c_str(), &actions, &attributes,
                           pointers(arguments).data(),
                           pointers(environment).data());
    }
    return code;
}

} // namespace

pid_t spawn(const Program &program, Error &err)
{
    std::vector<Fd> copies;
    std::vector<int> sources = {program.error_output};
    sources.insert(sources.end(), program.passed.begin(), program.passed.end());
    if (sources.size() > kHigh - kFirst) {
        err.message = "too many descriptors to pass on";
        return -1;
    }
    for (int &source : sources) {
        if (source < kHigh) {
            copies.emplace_back(fcntl(source, F_DUPFD_CLOEXEC, kHigh));
            source = copies.back().get();
        }
        if (source == -1) {
            err.message = strerror(errno);
            return -1;
        }
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    pid_t child = -1;
    const int code = start(program, sources, actions, attributes, child);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (code != 0) {
        err.message = program.path + ": " + strerror(code);
        return -1;
    }
    return child;
}

} // namespace llmproxy
