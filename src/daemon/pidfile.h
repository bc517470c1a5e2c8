#ifndef LLM_PROXY_SRC_DAEMON_PIDFILE_H
#define LLM_PROXY_SRC_DAEMON_PIDFILE_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/base/fd.h"

#include <string>

#include <sys/types.h>

namespace llmproxy
{

// The file of -p. Whoever runs holds a lock on it, so one that a dead process
// left behind is taken over. Without a path every call does nothing.
class PidFile
{
public:
    PidFile() = default;
    ~PidFile() { remove(); }
    PidFile(const PidFile &) = delete;
    PidFile &operator=(const PidFile &) = delete;

    // Makes the file and locks it. False with `running` set if another
    // process has the lock.
    [[nodiscard]] bool lock(const std::string &path, bool &running, Error &err);
    // Takes the lock over with the descriptor of an earlier process.
    void adopt(const std::string &path, Fd fd);
    // Writes the number of this process.
    [[nodiscard]] bool write(Error &err) const;
    // Removes the file, if it is still the one that was locked, or empties it
    // where the folder is out of reach.
    void remove();
    // Another process has the lock now: it is that one's file.
    void leave() { fd_.reset(); }
    int fd() const { return fd_.get(); }

private:
    [[nodiscard]] bool is_in_place() const;

    std::string path_;
    Fd fd_;
};

} // namespace llmproxy

#endif
