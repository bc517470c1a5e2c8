#ifndef LLM_PROXY_SRC_DAEMON_LISTENERS_H
#define LLM_PROXY_SRC_DAEMON_LISTENERS_H

#include <cstdint>
#include <string>
#include <vector>

#include "inherited.h"
#include "listener.h"
#include "privileges.h"

namespace llmproxy
{

// All sockets that the process listens on. The supervisor's; workers watch
// the descriptors, so what is not used any more is closed in two steps.
class Listeners
{
public:
    Listeners() = default;
    ~Listeners();
    Listeners(const Listeners &) = delete;
    Listeners &operator=(const Listeners &) = delete;

    // Takes those that the service manager has bound for clients; where there
    // are any, no other address is opened. Those of an earlier process are
    // lent by it. False: one has a name that means nothing.
    [[nodiscard]] bool inherit(std::vector<InheritedSocket> &sockets,
                               Error &err);
    // Opens those of `wanted` that are not open yet. What is in use stays as
    // it is until use(); on false nothing has been opened.
    [[nodiscard]] bool open(const std::vector<ListenAddress> &wanted,
                            ListenError &err);
    // Those of the last open() are in use, and no others. Says in the log what
    // that changes. Returns the number for close_left().
    uint64_t use();
    // The last open() was for nothing.
    void forget_opened();
    // None is in use.
    uint64_t use_none();
    // No worker watches what use() or use_none() took out of use.
    void close_left(uint64_t number);

    std::vector<int> descriptors() const;
    // Of those in use.
    std::vector<std::string> names() const;
    void give_files(const Identity &identity) const;

    // For another process: the sockets in use; and that they are its own now.
    std::vector<PassedSocket> to_pass() const;
    void lend();
    // The other side: what was lent is ours.
    void own();

private:
    struct Left {
        uint64_t number = 0;
        std::vector<Listener> listeners;
    };
    bool take_lent(const std::string &address);
    uint64_t leave(std::vector<Listener> listeners);

    std::vector<Listener> inherited_; // never closed: they are not ours
    bool accepting_ = false;
    std::vector<Listener> lent_; // of an earlier process, not wanted so far
    std::vector<Listener> used_;
    std::vector<Listener> opened_;
    std::vector<std::string> wanted_; // of the last open()
    std::vector<Left> left_;
    uint64_t last_number_ = 0;
};

} // namespace llmproxy

#endif
