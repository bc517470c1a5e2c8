// A full screen in plain ANSI: the alternate screen, the cursor hidden, keys
// without echo.
#include "screen.h"

#include <algorithm>
#include <cerrno>
#include <csignal>

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

constexpr char kEnter[] = "\x1b[?1049h\x1b[?25l";
constexpr char kLeave[] = "\x1b[?25h\x1b[?1049l";

termios &found()
{
    static termios as_found;
    return as_found;
}

void put(const std::string &text)
{
    size_t done = 0;
    while (done < text.size()) {
        const ssize_t wrote =
            write(STDOUT_FILENO, text.data() + done, text.size() - done);
        if (wrote == -1 && errno != EINTR) {
            return;
        }
        done += wrote > 0 ? static_cast<size_t>(wrote) : 0;
    }
}

// `lines` without what goes beyond `most`, and how many those are.
void add_some(Lines &out, const Lines &lines, size_t most)
{
    if (lines.size() <= most) {
        out.insert(out.end(), lines.begin(), lines.end());
    } else if (most > 0) {
        const auto shown = static_cast<ptrdiff_t>(most - 1);
        out.insert(out.end(), lines.begin(), lines.begin() + shown);
        out.push_back("... " + std::to_string(lines.size() - most + 1) +
                      " more");
    }
}

} // namespace

Lines fit(const TopText &text, size_t rows, size_t columns)
{
    Lines out = {text.head};
    const size_t foot = 2;
    const size_t room = rows > foot + 3 ? rows - foot - 3 : 0;
    const size_t for_labels = std::min(
        text.labels.size(),
        std::max(room / 3,
                 room > text.running.size() ? room - text.running.size() : 0));
    if (for_labels > 0) {
        out.emplace_back();
        add_some(out, text.labels, for_labels);
    }
    out.emplace_back();
    if (text.running.empty()) {
        out.emplace_back("nothing is running");
    } else {
        add_some(out, text.running, room - std::min(room, for_labels));
    }
    while (out.size() + 1 < rows) {
        out.emplace_back();
    }
    out.emplace_back("q quits");
    out.resize(std::min(out.size(), rows));
    for (std::string &line : out) {
        line.resize(std::min(line.size(), columns));
    }
    return out;
}

Screen::Screen()
{
    sigset_t mask;
    sigemptyset(&mask);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP}) {
        sigaddset(&mask, signal);
    }
    // There is one thread.
    // NOLINTNEXTLINE(concurrency-mt-unsafe)
    sigprocmask(SIG_BLOCK, &mask, nullptr);
    signals_ = signalfd(-1, &mask, SFD_CLOEXEC);
    enter();
}

Screen::~Screen()
{
    leave();
    close(signals_);
}

void Screen::enter()
{
    tcgetattr(STDIN_FILENO, &found());
    termios raw = found();
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    put(kEnter);
}

void Screen::leave()
{
    put(kLeave);
    tcsetattr(STDIN_FILENO, TCSANOW, &found());
}

void Screen::draw(const TopText &text)
{
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == -1 || size.ws_row == 0) {
        size.ws_row = 24;
        size.ws_col = 80;
    }
    std::string out = "\x1b[H";
    const Lines lines = fit(text, size.ws_row, size.ws_col);
    for (size_t i = 0; i < lines.size(); i++) {
        out += i == 0 ? "" : "\n";
        out += "\x1b[2K" + lines[i]; // and nothing of what stood there
    }
    put(out);
}

Key Screen::wait(int64_t ms)
{
    pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {signals_, POLLIN, 0}};
    if (poll(fds, 2, static_cast<int>(ms)) <= 0) {
        return Key::None;
    }
    if (fds[1].revents != 0) {
        signalfd_siginfo info{};
        if (read(signals_, &info, sizeof info) != sizeof info) {
            return Key::None;
        }
        if (info.ssi_signo == SIGTSTP) {
            leave();
            (void)raise(SIGSTOP);
            enter();
            return Key::Resized;
        }
        return info.ssi_signo == SIGWINCH ? Key::Resized : Key::Quit;
    }
    char key = 0;
    const ssize_t got = read(STDIN_FILENO, &key, 1);
    // The terminal is gone, or there is ^D where ^C is no signal.
    return got == 0 || key == 'q' || key == 'Q' || key == 3 || key == 4
               ? Key::Quit
               : Key::None;
}

} // namespace llmproxy
