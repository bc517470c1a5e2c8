// Reads and replaces whole files.
#include "llm_proxy/base/files.h"

#include "llm_proxy/base/fd.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

bool failed(Error &err)
{
    err.message = strerror(errno);
    return false;
}

bool write_all(int fd, std::string_view text)
{
    while (!text.empty()) {
        const ssize_t n = write(fd, text.data(), text.size());
        if (n == -1 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            text.remove_prefix(static_cast<size_t>(n));
        }
    }
    return true;
}

} // namespace

bool read_file(const std::string &path, std::string &out, bool &is_public,
               Error &err)
{
    const Fd fd(
        open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    struct stat info = {};
    if (!fd.valid() || fstat(fd.get(), &info) == -1) {
        return failed(err);
    }
    if (!S_ISREG(info.st_mode)) {
        errno = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
        err.message = errno == EISDIR ? strerror(errno) : "not a regular file";
        return false;
    }
    std::string text;
    char buffer[16384];
    for (;;) {
        const ssize_t n = read(fd.get(), buffer, sizeof buffer);
        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n == -1) {
            return failed(err);
        }
        if (n == 0) {
            break;
        }
        text.append(buffer, static_cast<size_t>(n));
        if (text.size() > kMaxFile) {
            err.message = "larger than 64 MiB";
            return false;
        }
    }
    explicit_bzero(buffer, sizeof buffer);
    out = std::move(text);
    is_public = (info.st_mode & S_IROTH) != 0;
    return true;
}

bool replace_file(const std::string &path, std::string_view text, Error &err)
{
    const std::string next = path + ".new";
    Fd fd(open(next.c_str(),
               O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid()) {
        return failed(err);
    }
    if (!write_all(fd.get(), text) || fsync(fd.get()) == -1 ||
        rename(next.c_str(), path.c_str()) == -1) {
        const bool done = failed(err);
        (void)unlink(next.c_str());
        return done;
    }
    // The new name is on the disk when its folder is; some file systems
    // refuse that, and have it by themselves.
    const size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos
                                   ? "."
                                   : path.substr(0, slash == 0 ? 1 : slash);
    fd.reset(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.valid()) {
        (void)fsync(fd.get());
    }
    return true;
}

} // namespace llmproxy
