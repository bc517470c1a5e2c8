#ifndef LLM_PROXY_TESTS_BENCH_ANSWER_READER_H
#define LLM_PROXY_TESTS_BENCH_ANSWER_READER_H

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy
{

// Follows the framing of one connection's answers, at any split, and counts
// the events in them. Anything but a 200 framed by Content-Length or chunks
// ends the program.
class AnswerReader
{
public:
    // True when `data` ends the answer; the reader is then ready for the
    // next. Bytes after the end were never asked for: they are an error too.
    bool feed(std::string_view data);

    // Within an answer, after its head.
    bool begun() const { return state_ != State::Head; }
    // Since the start: ends of SSE events (blank lines) in bodies.
    uint64_t events() const { return events_; }

private:
    enum class State { Head, Body, Size, Chunk, ChunkEnd, Trailer, Done };

    std::string_view take_head(std::string_view data);
    std::string_view take_body(std::string_view data, State next);
    std::string_view take_size(std::string_view data);
    std::string_view take_line(std::string_view data, State next);
    void begin_body(std::string_view head);

    State state_ = State::Head;
    std::string head_;
    uint64_t left_ = 0;      // bytes of the body or of the chunk
    bool line_empty_ = true; // of a trailer
    char last_ = 0;          // body byte before the data at hand
    uint64_t events_ = 0;
};

} // namespace llmproxy

#endif
