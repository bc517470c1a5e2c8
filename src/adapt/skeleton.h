#ifndef LLM_PROXY_SRC_ADAPT_SKELETON_H
#define LLM_PROXY_SRC_ADAPT_SKELETON_H

#include "llm_proxy/http/api_error.h"
#include "llm_proxy/json/scanner.h"
#include "llm_proxy/json/value.h"

#include <string>
#include <string_view>
#include <vector>

namespace llmproxy
{

// A request body whose long strings are replaced by short stand-ins, so that
// a message of 20 MiB costs neither a copy nor a tree. The skeleton is parsed
// and translated like any other body; what is dumped of it is then cut at the
// stand-ins, and the client's raw bytes (still escaped, so still the inside of
// a JSON string) are put between the pieces.
//
// Views into the client's body, which must outlive this.
class Skeleton
{
public:
    // False if more than 4 MiB is left beside the long strings, or the rest
    // is no JSON that can be translated.
    [[nodiscard]] bool build(std::string &body, const json::BodyFacts &facts,
                             json::Ptr &out, ApiError &err);

    // If `text` is a stand-in: the raw bytes it stands for.
    bool raw_of(std::string_view text, std::string_view &raw) const;
    // Where `raw` stands in the client's body, to be edited in place: what
    // the body says must stay the same.
    char *editable(std::string_view raw) const;
    // A stand-in for some more raw bytes.
    std::string stand_in(std::string_view raw);
    // Adds the pieces of `text` (which must outlive them) to `out`.
    void cut(std::string_view text, std::vector<std::string_view> &out) const;

private:
    std::string *body_ = nullptr;
    std::string nonce_; // no client can write a stand-in: it is random
    std::vector<std::string_view> raw_;
};

// Bytes of the skeleton that build() would parse.
size_t skeleton_size(std::string_view body, const json::BodyFacts &facts);

constexpr size_t kMaxSkeleton = size_t{4} << 20;

} // namespace llmproxy

#endif
