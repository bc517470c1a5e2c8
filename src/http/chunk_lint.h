#ifndef LLM_PROXY_HTTP_CHUNK_LINT_H
#define LLM_PROXY_HTTP_CHUNK_LINT_H

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llmproxy
{

// Judges chunk framing before the parser decodes it, as lint_head() judges
// the head: sizes of 1 to 16 hex digits right in front of CR LF or ';',
// extensions without control bytes and with closed quotes, data followed by
// CR LF, trailers that are 'name: value' (RFC 9112 7.1). Holds no bytes.
class ChunkLint
{
public:
    enum class Verdict {
        More,     // all of the input belongs to the body, and is well-formed
        Complete, // the body ends in the input, at `used`
        Bad,      // no chunked body
        TooLarge, // data, or framing in no proportion to it, over the limit
    };

    // For each new body.
    void reset();
    // Bounds the decoded bytes of this body.
    void set_max_data(uint64_t bytes) { max_data_ = bytes; }
    Verdict look(std::string_view in, size_t &used);

private:
    enum class State {
        SizeStart,
        Size,
        Extension,
        ExtensionQuoted,
        ExtensionEscape,
        SizeLf,
        Data,
        DataCr,
        DataLf,
        TrailerStart,
        TrailerName,
        TrailerValue,
        TrailerLf,
        LastLf,
    };

    bool step(unsigned char c);
    bool step_size(unsigned char c);
    bool step_trailer(unsigned char c);

    State state_ = State::SizeStart;
    uint64_t size_ = 0;
    uint64_t left_ = 0;
    uint64_t data_ = 0;
    uint64_t framing_ = 0;
    uint64_t max_data_ = UINT64_MAX;
    int digits_ = 0;
    bool complete_ = false;
};

} // namespace llmproxy

#endif
