#ifndef LLM_PROXY_HTTP_HEADER_LINT_H
#define LLM_PROXY_HTTP_HEADER_LINT_H

#include "llm_proxy/http/message.h"

#include <string_view>

namespace llmproxy
{

struct LintLimits {
    size_t max_target = 8192;
    size_t max_block = 32768;
    size_t max_line = 16384;
    size_t max_fields = 100;
};

// Why a head was refused: the status to answer, the rule that spoke (for the
// log and the counters) and a sentence for the client. Static strings.
struct HttpFault {
    int status = 0;
    const char *rule = "";
    const char *message = "";
};

// Judges a whole header block, from the request line to the empty line
// inclusive, before a parser sees it: rules L1 to L11. Lenient parsers
// disagree about what this refuses, and disagreement is request smuggling.
// Fills `head` (views into `block`) and returns true, or fills `fault`.
[[nodiscard]] bool lint_head(std::string_view block, const LintLimits &limits,
                             RequestHead &head, HttpFault &fault);

// Judges a target alone, as of a request that somebody else has read: its
// length and its bytes, L2 and L4.
[[nodiscard]] bool lint_target(std::string_view target,
                               const LintLimits &limits, HttpFault &fault);

// Judges a trailer section, the empty line at its end included, line by line
// as L1, L3 and L4 judge header fields; none may frame the body, which some
// parsers take and others refuse. What it says is dropped all the same.
[[nodiscard]] bool lint_trailers(std::string_view block,
                                 const LintLimits &limits, HttpFault &fault);

} // namespace llmproxy

#endif
