// Runs of a JSON string that need no look at each byte.
#include "llm_proxy/json/string_content.h"

#include "string_bytes.h"

namespace llmproxy::json
{

// So many times sixteen plain bytes make it likely that a whole block follows.
// Most texts have a line's end or a letter of two bytes before that.
constexpr int kLongRun = 8;

size_t content_length(std::string_view text)
{
    const char *at = text.data();
    const char *end = at + text.size();
    while (at != end) {
        int run = 0;
        while (static_cast<size_t>(end - at) >= sizeof(Bytes)) {
            const size_t plain = plain_bytes(at);
            at += plain;
            if (plain != sizeof(Bytes)) {
                break;
            }
            run++;
            while (run >= kLongRun && end - at >= kBlock &&
                   is_plain_block(at)) {
                at += kBlock;
            }
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
