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

bool read_unit(std::string_view text, Receipt &out)
{
    const std::vector<std::string_view> parts = split_list(text, ':');
    if (parts.size() != 3 || parts[0].empty()) {
        return false;
    }
    out.counter = parts[0];
    return read_number(parts[1], out.stamp.minute_start_ms) &&
           read_number(parts[2], out.stamp.day);
}

} // namespace

std::string make_receipt(std::string_view secret, const Sha256 &token,
                         const Receipt &receipt)
{
    std::string text(kVersion);
    text += ';';
    append_u64(text, static_cast<uint64_t>(receipt.issued_s));
    text += ';';
    text += receipt.request_id;
    text += ';';
    text += hex(token, kTokenDigits);
    text += ';';
    if (!receipt.counter.empty()) {
        text += receipt.counter;
        text += ':';
        append_u64(text, static_cast<uint64_t>(receipt.stamp.minute_start_ms));
        text += ':';
        append_u64(text, static_cast<uint64_t>(receipt.stamp.day));
        text += ';';
    }
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
    const bool has_unit = parts.size() == 6;
    if ((parts.size() != 5 && !has_unit) || parts[0] != kVersion ||
        !read_number(parts[1], receipt.issued_s) ||
        !parse_hex(parts.back(), receipt.signature)) {
        return ReceiptFault::Malformed;
    }
    const std::string_view signed_text =
        text.substr(0, static_cast<size_t>(parts.back().data() - text.data()));
    if (!equal_constant_time(receipt.signature,
                             hmac_sha256(secret, signed_text))) {
        return ReceiptFault::Forged;
    }
    const int64_t age_s = now_s - receipt.issued_s;
    if (age_s > kReceiptLifeS || age_s < -kReceiptLifeS) {
        return ReceiptFault::Stale;
    }
    if (parts[3] != hex(token, kTokenDigits)) {
        return ReceiptFault::OtherToken;
    }
    if (has_unit && !read_unit(parts[4], receipt)) {
        return ReceiptFault::Malformed;
    }
    receipt.request_id = parts[2];
    out = std::move(receipt);
    return ReceiptFault::None;
}

} // namespace llmproxy
