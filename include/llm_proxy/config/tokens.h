#ifndef LLM_PROXY_CONFIG_TOKENS_H
#define LLM_PROXY_CONFIG_TOKENS_H

#include "llm_proxy/base/digest.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace llmproxy
{

// Who a token stands for. Immutable once published, but for `slot`, which
// the daemon sets before publishing.
struct Principal {
    Sha256 digest{}; // of the token, which is not kept
    std::string label;
    uint64_t rpm = 0;                // 0 = unlimited
    uint64_t rpd = 0;                // 0 = unlimited
    uint64_t concurrency = 0;        // requests at a time; 0 = unlimited
    std::vector<std::string> models; // patterns; empty = all
    bool disabled = false;
    int64_t expires_s = 0; // Unix seconds; 0 = never
    uint32_t slot = 0;     // index of its counters in the limiter's table
};

struct DigestHash {
    size_t operator()(const Sha256 &digest) const;
};
struct DigestEqual {
    bool operator()(const Sha256 &a, const Sha256 &b) const
    {
        return equal_constant_time(a, b);
    }
};

// All tokens of one configuration, found by digest.
class TokenTable
{
public:
    // nullptr if unknown. Hashes what was presented and looks that up, so a
    // near miss takes as long as a far one; digests are compared in constant
    // time.
    const Principal *find(std::string_view presented) const;
    // False if the digest or the label is there already; `why` names the
    // other one's label.
    [[nodiscard]] bool add(Principal principal, std::string &why);
    size_t size() const { return principals_.size(); }
    std::vector<Principal> &principals() { return principals_; }
    const std::vector<Principal> &principals() const { return principals_; }

private:
    std::vector<Principal> principals_;
    std::unordered_map<Sha256, size_t, DigestHash, DigestEqual> by_digest_;
    std::unordered_set<std::string> labels_;
};

// Whether a client could show this as its token (RFC 6750, section 2.1), and
// none could guess it at once; `why` says what is wrong.
[[nodiscard]] bool check_token(std::string_view token, std::string &why);

struct Problem; // config/settings.h

// Reads a JSON array of tokens. `where` is what problems name: a file, to
// which line numbers are added, or "environment: TOKENS_JSON" and the like.
// Adds every problem found. The text is wiped, whatever the result.
void parse_tokens(std::string &json_text, const std::string &where,
                  bool where_is_file, TokenTable &out,
                  std::vector<Problem> &problems);

} // namespace llmproxy

#endif
