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
    // At most 256, good until the next call.
    const uint8_t *take(size_t bytes)
    {
        if (sizeof(block_) - used_ < bytes) {
            fill();
        }
        used_ += bytes;
        return block_ + used_ - bytes;
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
    static thread_local RandomBytes random;
    const uint8_t *bytes = random.take((digits + 1) / 2);
    const size_t begin = out.size();
    out.resize(begin + digits);
    char *to = &out[begin];
    for (size_t i = 0; i < digits; i++) {
        to[i] = alphabet[i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15];
    }
}

} // namespace llmproxy
