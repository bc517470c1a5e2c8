// daemon/control: whose the socket is when one daemon follows another.

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../src/daemon/control.h"
#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

// Refusals of nonsense take no daemon.
struct NoHost final : ControlHost {
    ControlView control_view() override { abort(); }
    Crew &crew() override { abort(); }
    ReloadResult reload() override { abort(); }
    void drain() override { abort(); }
};

struct Folder {
    Folder()
    {
        char name[] = "/tmp/control_test_XXXXXX";
        assert_non_null(mkdtemp(name));
        path = name;
    }
    ~Folder() { rmdir(path.c_str()); }
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;
    std::string path;
};

class Stop final : public TimerHandler
{
public:
    Stop(EventLoop &loop, int fd) : loop_(loop), fd_(fd), timer_(loop, *this)
    {
        timer_.arm(1);
    }
    virtual ~Stop() = default;
    std::string heard;

private:
    void on_timer(Timer &) override
    {
        char bytes[256];
        const ssize_t got = recv(fd_, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got > 0) {
            heard.append(bytes, static_cast<size_t>(got));
        }
        if (got == 0 || ++turns_ > 5000) {
            loop_.stop();
        } else {
            timer_.arm(1);
        }
    }

    EventLoop &loop_;
    int fd_;
    Timer timer_;
    int turns_ = 0;
};

bool exists(const std::string &path)
{
    struct stat info = {};
    return lstat(path.c_str(), &info) == 0;
}

// What the one that serves in `loop` says to nonsense; empty = nothing.
std::string answer_of(EventLoop &loop, const std::string &path)
{
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    memcpy(name.sun_path, path.data(), path.size());
    const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd.get(), reinterpret_cast<const sockaddr *>(&name),
                sizeof name) == -1 ||
        send(fd.get(), "nonsense\n", 9, 0) != 9) {
        return "";
    }
    Stop stop(loop, fd.get());
    loop.run();
    return stop.heard;
}

} // namespace

static void a_successor_takes_the_socket_over(void **)
{
    const Folder folder;
    const std::string path = folder.path + "/control.sock";
    NoHost host;
    ListenError err;
    EventLoop old_loop;
    std::unique_ptr<Control> old = std::make_unique<Control>(old_loop, host);
    assert_true(old->open(path, Identity(), false, err));
    old->begin();
    {
        EventLoop loop;
        Control refused(loop, host);
        assert_false(refused.open(path, Identity(), false, err));
        assert_int_equal(err.code, EADDRINUSE);
        // One that does not come to serve changes nothing.
        Control failed(loop, host);
        assert_true(failed.open(path, Identity(), true, err));
        assert_true(exists(path + ".new"));
    }
    assert_false(exists(path + ".new"));
    EventLoop loop;
    std::unique_ptr<Control> next = std::make_unique<Control>(loop, host);
    assert_true(next->open(path, Identity(), true, err));
    next->begin();
    assert_false(exists(path + ".new"));
    const std::string said = answer_of(loop, path);
    assert_non_null(strstr(said.c_str(), "unknown command"));
    old.reset();
    assert_true(exists(path)); // it is not the old one's any more
    next.reset();
    assert_false(exists(path));
}

static void a_dead_ones_socket_is_replaced(void **)
{
    const Folder folder;
    const std::string path = folder.path + "/control.sock";
    NoHost host;
    ListenError err;
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    memcpy(name.sun_path, path.data(), path.size());
    Fd dead(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    assert_int_equal(bind(dead.get(), reinterpret_cast<const sockaddr *>(&name),
                          sizeof name),
                     0);
    dead.reset();
    EventLoop loop;
    Control control(loop, host);
    assert_true(control.open(path, Identity(), false, err));
    struct stat info = {};
    assert_int_equal(lstat(path.c_str(), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0660);
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_successor_takes_the_socket_over),
        cmocka_unit_test(a_dead_ones_socket_is_replaced),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
