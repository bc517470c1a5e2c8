#ifndef LLM_PROXY_TESTS_BENCH_STAMP_H
#define LLM_PROXY_TESTS_BENCH_STAMP_H

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <sys/types.h>

// How long a piece was under way: the backend writes the time of sending into
// its text, and the kernel notes when it arrives at the client, so that a load
// that is late itself does not count. Times are of the wall clock, in us.
namespace llmproxy
{

// What stands in a piece's text until it is sent.
constexpr std::string_view kNoStamp = "@0000000000000000";

int64_t wall_us();

// Writes as many characters as kNoStamp has.
void write_stamp(char *at, int64_t us);

// Drops all up to the end of the first stamp; false if there is none.
bool take_stamp(std::string_view &data, int64_t &us);

// From now on arrival times can be read there.
void note_arrivals(int fd);

// As recv(); `arrived_us` is when the last of the bytes came.
ssize_t receive_timed(int fd, char *buffer, size_t size, int64_t &arrived_us);

} // namespace llmproxy

#endif
