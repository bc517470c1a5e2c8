#ifndef LLM_PROXY_SRC_CONFIG_FILES_H
#define LLM_PROXY_SRC_CONFIG_FILES_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/base/fd.h"

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llmproxy
{

constexpr size_t kMaxConfigFile = size_t{64} << 20;

// Reads a whole file, a pipe included. `is_public`: everyone may read it.
[[nodiscard]] inline bool read_file(const std::string &path, std::string &out,
                                    bool &is_public, Error &err)
{
    const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    struct stat info = {};
    if (!fd.valid() || fstat(fd.get(), &info) == -1) {
        err.message = strerror(errno);
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
            err.message = strerror(errno);
            return false;
        }
        if (n == 0) {
            break;
        }
        text.append(buffer, static_cast<size_t>(n));
        if (text.size() > kMaxConfigFile) {
            err.message = "larger than 64 MiB";
            return false;
        }
    }
    explicit_bzero(buffer, sizeof buffer);
    out = std::move(text);
    is_public = S_ISREG(info.st_mode) && (info.st_mode & S_IROTH) != 0;
    return true;
}

} // namespace llmproxy

#endif
