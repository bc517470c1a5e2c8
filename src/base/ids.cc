// Random identifiers. The kernel is asked once per 256 bytes and thread.
#include "llm_proxy/base/ids.h"

#include "llm_proxy/base/log.h"

#include <cerrno>
#include <cstdint>
#include <cstring>

#include <sys/random.h>

namespace llmproxy
{

namespace
{

class RandomBytes
{
public:
    uint8_t next()
    {
        if (used_ == sizeof(block_)) {
            fill();
        }
        return block_[used_++];
    }

private:
    void fill()
    {
        // Up to 256 bytes come whole and are not interrupted (getrandom(2)),
        // but for the wait for the first entropy after boot.
        ssize_t got;
        do {
            got = getrandom(block_, sizeof(block_), 0);
        } while (got == -1 && errno == EINTR);
        if (got != static_cast<ssize_t>(sizeof(block_))) {
            fatal("getrandom: %s", strerror(errno));
        }
        used_ = 0;
    }

    uint8_t block_[256];
    size_t used_ = sizeof(block_);
};

} // namespace

void append_random_hex(std::string &out, size_t digits)
{
    static const char alphabet[] = "0123456789abcdef";
    static thread_local RandomBytes of_thread;
    RandomBytes &random = of_thread; // looked up once
    const size_t begin = out.size();
    out.resize(begin + digits);
    char *to = &out[begin];
    for (size_t i = 0; i < digits; i += 2) {
        const uint8_t byte = random.next();
        to[i] = alphabet[byte >> 4];
        if (i + 1 < digits) {
            to[i + 1] = alphabet[byte & 15];
        }
    }
}

} // namespace llmproxy
