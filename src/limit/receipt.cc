// Signs and judges receipts. Knows no time and no secret of its own.

#include "llm_proxy/limit/receipt.h"

#include "llm_proxy/base/strings.h"

#include <vector>

namespace llmproxy
{

namespace
{

constexpr std::string_view kVersion = "v1";
constexpr size_t kTokenDigits = 16;

} // namespace

std::string make_receipt(std::string_view secret, const Sha256 &token,
                         std::string_view request_id, int64_t now_s)
{
    std::string receipt(kVersion);
    receipt += ';';
    append_u64(receipt, static_cast<uint64_t>(now_s));
    receipt += ';';
    receipt.append(request_id);
    receipt += ';';
    receipt += hex(token, kTokenDigits);
    receipt += ';';
    receipt += hex(hmac_sha256(secret, receipt));
    return receipt;
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
    }
    return "fine";
}

ReceiptFault check_receipt(std::string_view secret, const Sha256 &token,
                           int64_t now_s, std::string_view text,
                           std::string_view &request_id)
{
    const std::vector<std::string_view> parts = split_list(text, ';');
    uint64_t issued_s = 0;
    Sha256 signature;
    if (parts.size() != 5 || parts[0] != kVersion ||
        !parse_u64(parts[1], issued_s) || issued_s > INT64_MAX / 2 ||
        !parse_hex(parts[4], signature)) {
        return ReceiptFault::Malformed;
    }
    const std::string_view signed_text =
        text.substr(0, static_cast<size_t>(parts[4].data() - text.data()));
    if (!equal_constant_time(signature, hmac_sha256(secret, signed_text))) {
        return ReceiptFault::Forged;
    }
    const int64_t age_s = now_s - static_cast<int64_t>(issued_s);
    if (age_s > kReceiptLifeS || age_s < -kReceiptLifeS) {
        return ReceiptFault::Stale;
    }
    if (parts[3] != hex(token, kTokenDigits)) {
        return ReceiptFault::OtherToken;
    }
    request_id = parts[2];
    return ReceiptFault::None;
}

} // namespace llmproxy
