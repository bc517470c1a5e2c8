// Times in pieces, and the kernel's time of their arrival.

#include "stamp.h"

#include "llm_proxy/base/strings.h"

#include <cstring>
#include <ctime>

#include <sys/socket.h>

#include "wire.h"

namespace llmproxy
{

namespace
{

constexpr size_t kDigits = kNoStamp.size() - 1;

int64_t as_us(const timespec &time)
{
    return static_cast<int64_t>(time.tv_sec) * 1000000 + time.tv_nsec / 1000;
}

} // namespace

int64_t wall_us()
{
    timespec now = {};
    clock_gettime(CLOCK_REALTIME, &now);
    return as_us(now);
}

void write_stamp(char *at, int64_t us)
{
    at[0] = kNoStamp[0];
    for (size_t i = kDigits; i > 0; i--) {
        at[i] = static_cast<char>('0' + us % 10);
        us /= 10;
    }
}

bool take_stamp(std::string_view &data, int64_t &us)
{
    for (;;) {
        const size_t at = data.find(kNoStamp[0]);
        if (at == std::string_view::npos ||
            data.size() - at < kNoStamp.size()) {
            return false;
        }
        uint64_t value = 0;
        const bool number = parse_u64(data.substr(at + 1, kDigits), value);
        data.remove_prefix(at + (number ? kNoStamp.size() : 1));
        if (number && value > 0) {
            us = static_cast<int64_t>(value);
            return true;
        }
    }
}

void note_arrivals(int fd)
{
    const int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) == -1) {
        die_errno("SO_TIMESTAMPNS");
    }
}

ssize_t receive_timed(int fd, char *buffer, size_t size, int64_t &arrived_us)
{
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(timespec)) + 64];
    iovec part = {buffer, size};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(fd, &message, 0);
    arrived_us = wall_us();
    for (cmsghdr *note = CMSG_FIRSTHDR(&message); got > 0 && note != nullptr;
         note = CMSG_NXTHDR(&message, note)) {
        if (note->cmsg_level == SOL_SOCKET &&
            note->cmsg_type == SO_TIMESTAMPNS) {
            timespec time = {};
            memcpy(&time, CMSG_DATA(note), sizeof time);
            arrived_us = as_us(time);
        }
    }
    return got;
}

} // namespace llmproxy
