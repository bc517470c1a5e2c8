// --hash-token: a token is read where no history of commands keeps it.
#include "hash_token.h"

#include "llm_proxy/base/digest.h"
#include "llm_proxy/config/tokens.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <termios.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

constexpr size_t kMaxToken = 8192; // as long as a field of a request may be

// Off while it lives, where standard input is a terminal.
class Echo
{
public:
    Echo() : is_terminal_(tcgetattr(STDIN_FILENO, &before_) == 0)
    {
        if (is_terminal_) {
            termios quiet = before_;
            quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
            (void)fputs("Token: ", stderr);
        }
    }
    ~Echo()
    {
        if (is_terminal_) {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
            (void)fputc('\n', stderr);
        }
    }
    Echo(const Echo &) = delete;
    Echo &operator=(const Echo &) = delete;

private:
    termios before_{};
    bool is_terminal_;
};

// False if it cannot be read; its end without a newline is an end, too.
bool read_line(std::string &out, Error &err)
{
    const Echo off;
    out.reserve(kMaxToken); // no copy stays behind where it was
    char c = 0;
    for (;;) {
        const ssize_t got = read(STDIN_FILENO, &c, 1);
        if (got == -1 && errno != EINTR) {
            err.message = std::string("standard input: ") + strerror(errno);
            return false;
        }
        if (got == 0 || (got == 1 && c == '\n')) {
            return true;
        }
        if (out.size() == kMaxToken) {
            err.message = "token is longer than a client can show";
            return false;
        }
        if (got == 1) {
            out += c;
        }
    }
}

} // namespace

bool hash_token(std::string &out, Error &err)
{
    std::string token;
    const bool good = read_line(token, err) && check_token(token, err.message);
    if (good) {
        out = hex(sha256(token));
    }
    wipe(token);
    return good;
}

} // namespace llmproxy
