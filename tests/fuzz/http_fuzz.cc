// Feeds a connection's bytes to lint and parser: whole, byte by byte and in
// pieces that the input itself chooses. The verdict must be the same.

#include "llm_proxy/http/http_parser.h"

#include <cstdint>
#include <cstdlib>
#include <string>

using namespace llmproxy;

namespace
{

constexpr uint64_t kMaxBody = 64 * 1024;

// Everything that comes out, as text; the pieces of a body are joined.
std::string verdict(std::string_view bytes, size_t step)
{
    HttpParser parser{LintLimits()};
    std::string out;
    size_t done = 0;
    size_t given = 0;
    while (given < bytes.size()) {
        given = bytes.size() - given > step ? given + step : bytes.size();
        for (;;) {
            size_t used = 0;
            const HttpEvent event =
                parser.next(bytes.substr(done, given - done), used);
            if (used > given - done) {
                abort();
            }
            done += used;
            if (event == HttpEvent::Fault) {
                return out + "!" + std::to_string(parser.fault().status);
            }
            if (event == HttpEvent::NeedMore) {
                if (done != given) {
                    abort();
                }
                break;
            }
            if (event == HttpEvent::Head) {
                const RequestHead &head = parser.head();
                parser.set_max_body(kMaxBody);
                out += "<";
                out += head.target;
                for (const Field &field : head.fields) {
                    out += "|";
                    out += field.name;
                    out += "=";
                    out += field.value;
                }
                out += ">";
            } else if (event == HttpEvent::Body) {
                out += parser.body();
            } else {
                out += ".";
            }
        }
    }
    return out + (parser.idle() ? "idle" : parser.in_head() ? "head" : "body");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const std::string_view bytes(reinterpret_cast<const char *>(data), size);
    const std::string whole = verdict(bytes, size);
    const size_t chosen = data[size / 2] % 64 + 2;
    if (verdict(bytes, 1) != whole || verdict(bytes, chosen) != whole) {
        abort();
    }
    return 0;
}
