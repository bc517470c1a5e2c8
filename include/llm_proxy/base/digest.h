#ifndef LLM_PROXY_BASE_DIGEST_H
#define LLM_PROXY_BASE_DIGEST_H

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy
{

using Sha256 = std::array<uint8_t, 32>;

// FIPS 180-4. The algorithm is fetched from libcrypto once, not per call.
Sha256 sha256(std::string_view bytes);
// RFC 2104 over SHA-256.
Sha256 hmac_sha256(std::string_view secret, std::string_view bytes);
// Time depends on nothing but the length.
bool equal_constant_time(const Sha256 &a, const Sha256 &b);
// The first `digits` (at most 64) lower-case hex digits.
std::string hex(const Sha256 &digest, size_t digits = 64);
// Exactly 64 hex digits of either case.
[[nodiscard]] bool parse_hex(std::string_view text, Sha256 &out);
// libcrypto's, for -V.
std::string crypto_version();
// Overwrites a secret's bytes in a way the compiler keeps.
void wipe(std::string &secret);

} // namespace llmproxy

#endif
