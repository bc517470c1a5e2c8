#ifndef LLM_PROXY_DAEMON_CONTROL_H
#define LLM_PROXY_DAEMON_CONTROL_H

#include "llm_proxy/daemon/control_commands.h"
#include "llm_proxy/loop/event_loop.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control_answers.h"
#include "crew.h"
#include "listener.h"
#include "privileges.h"

namespace llmproxy
{

// What the control socket may ask of the daemon. All from the loop.
class ControlHost
{
public:
    virtual ControlView control_view() = 0;
    virtual Crew &crew() = 0;
    virtual ReloadResult reload() = 0;
    // As SIGTERM does.
    virtual void drain() = 0;

protected:
    ~ControlHost() = default;
};

// The control socket: one request line in, one JSON document out, and the end.
// Lives in the supervisor's loop and never holds it up: few clients, short
// lines, a deadline for each; what only workers know is asked of them by
// messages, and who does not answer in a second is left out.
class Control final : private IoHandler, private TimerHandler
{
public:
    // Both outlive it.
    Control(EventLoop &loop, ControlHost &host);
    ~Control();
    Control(const Control &) = delete;
    Control &operator=(const Control &) = delete;

    // Binds the socket, for the user that the daemon will be, and its group.
    // One that a dead daemon left is replaced, one that is in use is not,
    // unless `take_over`: then begin() puts this one in its place.
    [[nodiscard]] bool open(const std::string &path, const Identity &identity,
                            bool take_over, ListenError &err);
    // The daemon serves: so does the socket, if there is one.
    void begin();

private:
    class Client;
    friend class Client;

    void on_io(bool readable, bool writable) override;
    void on_timer(Timer &timer) override;
    void make_room();
    void forget(uint64_t id);
    // Asks the workers from `first` to `last`; the client hears of each.
    void ask(uint64_t client, uint64_t round, size_t first, size_t last,
             const WorkerQuestion &question);
    void on_answer(uint64_t client, uint64_t round, size_t worker,
                   WorkerAnswer answer);

    EventLoop &loop_;
    ControlHost &host_;
    std::vector<Listener> listeners_; // one, or none
    std::string path_; // where begin() moves it to; empty = it is there
    std::unique_ptr<IoWatch> watch_;
    Timer timer_;
    std::map<uint64_t, std::unique_ptr<Client>> clients_; // the oldest first
    uint64_t last_id_ = 0;
};

} // namespace llmproxy

#endif
