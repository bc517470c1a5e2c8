// Takes the long strings out of a request body before it becomes a tree, and
// puts them back into what the tree was translated to.

#include "skeleton.h"

#include "llm_proxy/base/ids.h"

#include <cstdint>

namespace llmproxy
{

namespace
{

constexpr size_t kNonceDigits = 24;
constexpr size_t kIndexDigits = 8;
constexpr size_t kStandIn = kNonceDigits + kIndexDigits;

void append_index(std::string &out, size_t index)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = kIndexDigits; i > 0; i--) {
        out += digits[(index >> (4 * (i - 1))) & 15];
    }
}

size_t read_index(std::string_view text)
{
    size_t index = 0;
    for (const char c : text) {
        index =
            index * 16 + static_cast<size_t>(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return index;
}

bool refuse_json(const Error &why, bool exact_place, ApiError &err)
{
    err = ApiError();
    err.kind = ApiErrorKind::InvalidJson;
    // jansson says "invalid Unicode escape" and the like for the half of a
    // surrogate pair.
    if (why.message.find("nicode") != std::string::npos) {
        err.message = "The request body holds invalid unicode: half of a "
                      "surrogate pair.";
        return false;
    }
    // Columns of the skeleton are not the client's.
    err.message = "The request body is refused: ";
    err.message += exact_place
                       ? why.message
                       : why.message.substr(0, why.message.find(" (line "));
    err.message += '.';
    return false;
}

} // namespace

size_t skeleton_size(std::string_view body, const json::BodyFacts &facts)
{
    size_t size = body.size() + facts.long_strings.size() * kStandIn;
    for (const json::Range &range : facts.long_strings) {
        size -= range.size();
    }
    return size;
}

bool Skeleton::build(std::string &body, const json::BodyFacts &facts,
                     json::Ptr &out, ApiError &err)
{
    body_ = &body;
    if (facts.lone_surrogate) {
        return refuse_json({"invalid unicode"}, false, err);
    }
    std::string shortened;
    const std::string_view whole = body;
    std::string_view text = whole;
    if (!facts.long_strings.empty()) {
        append_random_hex(nonce_, kNonceDigits);
        raw_.reserve(facts.long_strings.size());
        size_t at = 0;
        for (const json::Range &range : facts.long_strings) {
            shortened.append(whole.substr(at, range.begin - at));
            shortened += stand_in(whole.substr(range.begin, range.size()));
            at = range.end;
        }
        shortened.append(whole.substr(at));
        text = shortened;
    }
    if (text.size() > kMaxSkeleton) {
        err = ApiError();
        err.kind = ApiErrorKind::RequestTooLarge;
        err.message = "The request holds more than 4 MiB beside strings of "
                      "over 1 KiB; send fewer or shorter messages.";
        return false;
    }
    Error why;
    if (!json::parse(text, out, why)) {
        return refuse_json(why, raw_.empty(), err);
    }
    return true;
}

bool Skeleton::raw_of(std::string_view text, std::string_view &raw) const
{
    if (raw_.empty() || text.size() != kStandIn ||
        text.substr(0, kNonceDigits) != nonce_) {
        return false;
    }
    raw = raw_[read_index(text.substr(kNonceDigits))];
    return true;
}

char *Skeleton::editable(std::string_view raw) const
{
    return body_->data() + (raw.data() - body_->data());
}

std::string Skeleton::stand_in(std::string_view raw)
{
    std::string out = nonce_;
    append_index(out, raw_.size());
    raw_.push_back(raw);
    return out;
}

void Skeleton::cut(std::string_view text,
                   std::vector<std::string_view> &out) const
{
    size_t at = 0;
    while (!raw_.empty()) {
        const size_t found = text.find(nonce_, at);
        if (found == std::string_view::npos) {
            break;
        }
        const size_t index =
            read_index(text.substr(found + kNonceDigits, kIndexDigits));
        out.push_back(text.substr(at, found - at));
        out.push_back(raw_[index]);
        at = found + kStandIn;
    }
    out.push_back(text.substr(at));
}

} // namespace llmproxy
