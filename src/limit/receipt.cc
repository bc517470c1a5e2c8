// Signs and judges receipts. Knows no time and no secret of its own.

#include "llm_proxy/limit/receipt.h"

#include "llm_proxy/base/strings.h"

#include <utility>
#include <vector>

namespace llmproxy
{

namespace
{

constexpr std::string_view kVersion = "v1";
constexpr size_t kTokenDigits = 16;
constexpr size_t kUsualSize = 208; // one allocation instead of four
constexpr uint64_t kMaxNumber = INT64_MAX / 2;

bool read_number(std::string_view text, int64_t &out)
{
    uint64_t number = 0;
    if (!parse_u64(text, number) || number > kMaxNumber) {
        return false;
    }
    out = static_cast<int64_t>(number);
    return true;
}

// The token's digits, and the unit if there is one.
bool read_unit(std::string_view text, std::string_view &digits, Receipt &out)
{
    const std::vector<std::string_view> parts = split_list(text, ':');
    if (parts.size() != 1 && parts.size() != 4) {
        return false;
    }
    digits = parts[0];
    if (parts.size() == 1) {
        return true;
    }
    out.counter = parts[1];
    return read_number(parts[2], out.stamp.minute_start_ms) &&
           read_number(parts[3], out.stamp.day);
}

} // namespace

std::string make_receipt(std::string_view secret, const Sha256 &token,
                         const Receipt &receipt)
{
    std::string text;
    text.reserve(kUsualSize);
    text += kVersion;
    text += ';';
    append_u64(text, static_cast<uint64_t>(receipt.issued_s));
    text += ';';
    text += receipt.request_id;
    text += ';';
    text += hex(token, kTokenDigits);
    if (!receipt.counter.empty()) {
        text += ':';
        text += receipt.counter;
        text += ':';
        append_u64(text, static_cast<uint64_t>(receipt.stamp.minute_start_ms));
        text += ':';
        append_u64(text, static_cast<uint64_t>(receipt.stamp.day));
    }
    text += ';';
    text += hex(hmac_sha256(secret, text));
    return text;
}

const char *receipt_fault_name(ReceiptFault fault)
{
    switch (fault) {
    case ReceiptFault::None:
        break;
    case ReceiptFault::Malformed:
        return "malformed";
    case ReceiptFault::Forged:
        return "forged";
    case ReceiptFault::Stale:
        return "stale";
    case ReceiptFault::OtherToken:
        return "of another token";
    case ReceiptFault::Used:
        return "used before";
    case ReceiptFault::TooMany:
        return "one of too many";
    }
    return "fine";
}

ReceiptFault check_receipt(std::string_view secret, const Sha256 &token,
                           int64_t now_s, std::string_view text, Receipt &out)
{
    const std::vector<std::string_view> parts = split_list(text, ';');
    Receipt receipt;
    std::string_view digits;
    if (parts.size() != 5 || parts[0] != kVersion ||
        !read_number(parts[1], receipt.issued_s) ||
        !read_unit(parts[3], digits, receipt) ||
        !parse_hex(parts[4], receipt.signature)) {
        return ReceiptFault::Malformed;
    }
    const std::string_view signed_text =
        text.substr(0, static_cast<size_t>(parts[4].data() - text.data()));
    if (!equal_constant_time(receipt.signature,
                             hmac_sha256(secret, signed_text))) {
        return ReceiptFault::Forged;
    }
    const int64_t age_s = now_s - receipt.issued_s;
    if (age_s > kReceiptLifeS || age_s < -kReceiptSkewS) {
        return ReceiptFault::Stale;
    }
    if (digits != hex(token, kTokenDigits)) {
        return ReceiptFault::OtherToken;
    }
    receipt.request_id = parts[2];
    out = std::move(receipt);
    return ReceiptFault::None;
}

} // namespace llmproxy
