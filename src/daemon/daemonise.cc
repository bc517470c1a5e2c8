// Into the background, and the three standard descriptors.
#include "daemonise.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "options.h"

namespace llmproxy
{

namespace
{

// In who started the daemon: its exit code.
int wait_for(pid_t child, int pipe)
{
    char ready = 0;
    ssize_t size;
    do {
        size = read(pipe, &ready, 1);
    } while (size == -1 && errno == EINTR);
    if (size == 1) {
        return kExitOk;
    }
    int status = 0;
    pid_t ended;
    do {
        ended = waitpid(child, &status, 0);
    } while (ended == -1 && errno == EINTR);
    if (ended == -1) {
        return kExitOs;
    }
    if (WIFSIGNALED(status)) {
        (void)fprintf(stderr, "llm-proxyd: ended by signal %d while starting\n",
                      WTERMSIG(status));
        return kExitSoftware;
    }
    return WEXITSTATUS(status);
}

} // namespace

bool Background::enter(Error &err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) == -1) {
        err.message = std::string("pipe: ") + strerror(errno);
        return false;
    }
    Fd from_child(ends[0]);
    Fd to_parent(ends[1]);
    (void)fflush(nullptr);
    // Ignored by whoever starts this, it would hide how the child ended.
    (void)signal(SIGCHLD, SIG_DFL);
    const pid_t child = fork();
    if (child == -1) {
        err.message = std::string("fork: ") + strerror(errno);
        return false;
    }
    if (child > 0) {
        to_parent.reset();
        _exit(wait_for(child, from_child.get()));
    }
    setsid();
    starter_ = std::move(to_parent);
    return true;
}

void Background::detach()
{
    if (!starter_.valid()) {
        return;
    }
    const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int fd = STDIN_FILENO; null.valid() && fd <= STDERR_FILENO; fd++) {
        dup2(null.get(), fd);
    }
    // A starter that did not wait is none of our business.
    (void)!write(starter_.get(), "", 1);
    starter_.reset();
}

void use_error_output(Fd fd)
{
    if (fd.valid()) {
        dup2(fd.get(), STDERR_FILENO);
    }
}

void open_standard_fds()
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd != -1 && fd <= STDERR_FILENO);
    if (fd != -1) {
        close(fd);
    }
}

} // namespace llmproxy
