// The process id's file: its lock tells a running daemon from a dead one.
#include "pidfile.h"

#include "llm_proxy/base/strings.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llmproxy
{

bool PidFile::is_in_place() const
{
    struct stat ours = {};
    struct stat there = {};
    return fstat(fd_.get(), &ours) == 0 && lstat(path_.c_str(), &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

bool PidFile::lock(const std::string &path, bool &running, Error &err)
{
    running = false;
    path_ = path;
    do { // again if who had the lock removed the file in between
        fd_.reset(open(path.c_str(),
                       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK |
                           O_NOCTTY,
                       0644));
        if (!fd_.valid()) {
            err.message = path + ": " + strerror(errno);
            return false;
        }
        struct stat info = {};
        if (fstat(fd_.get(), &info) == -1 || !S_ISREG(info.st_mode)) {
            fd_.reset();
            err.message = path + ": not a regular file";
            return false;
        }
        if (flock(fd_.get(), LOCK_EX | LOCK_NB) == -1) {
            char text[16] = "";
            const ssize_t size = pread(fd_.get(), text, sizeof(text) - 1, 0);
            fd_.reset();
            running = true;
            err.message = path + ": another llm-proxyd is running";
            if (size > 0) {
                err.message += ", process ";
                err.message += trim(std::string_view(
                    text, static_cast<size_t>(strcspn(text, "\n"))));
            }
            return false;
        }
    } while (!is_in_place());
    return true;
}

void PidFile::adopt(const std::string &path, Fd fd)
{
    path_ = path;
    fd_ = std::move(fd);
}

bool PidFile::write(Error &err) const
{
    if (!fd_.valid()) {
        return true;
    }
    std::string text;
    append_u64(text, static_cast<uint64_t>(getpid()));
    text += '\n';
    if (ftruncate(fd_.get(), 0) == -1 ||
        pwrite(fd_.get(), text.data(), text.size(), 0) !=
            static_cast<ssize_t>(text.size())) {
        err.message = path_ + ": " + strerror(errno);
        return false;
    }
    return true;
}

void PidFile::remove()
{
    if (fd_.valid() && is_in_place() && unlink(path_.c_str()) == -1) {
        (void)!ftruncate(fd_.get(), 0);
    }
    fd_.reset();
}

} // namespace llmproxy
