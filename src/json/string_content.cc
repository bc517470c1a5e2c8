// Runs of a JSON string that need no look at each byte.
#include "llm_proxy/json/string_content.h"

#include "string_bytes.h"

namespace llmproxy::json
{

size_t content_length(std::string_view text)
{
    const char *at = text.data();
    const char *end = at + text.size();
    while (at != end) {
        while (end - at >= 8) {
            uint64_t word = 0;
            memcpy(&word, at, sizeof word);
            const uint64_t marks = special_marks(word);
            if (marks != 0) {
                at += before_mark(marks);
                break;
            }
            at += sizeof word;
        }
        while (at != end && is_plain(static_cast<unsigned char>(*at))) {
            at++;
        }
        if (at == end || static_cast<unsigned char>(*at) < 0x80) {
            break;
        }
        const size_t length = utf8_length(at, static_cast<size_t>(end - at));
        if (length == 0) {
            break;
        }
        at += length;
    }
    return static_cast<size_t>(at - text.data());
}

} // namespace llmproxy::json
