// SHA-256 over libcrypto, and what goes with secrets: comparing without a
// timing difference, hexadecimal text, wiping.
#include "llm_proxy/base/digest.h"

#include "llm_proxy/base/handles.h"
#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <array>

#include <openssl/crypto.h>
#include <openssl/evp.h>

namespace llmproxy
{

namespace
{

constexpr size_t kBlock = 64; // bytes that SHA-256 takes at a time

using DigestContext = Handle<EVP_MD_CTX, EVP_MD_CTX_free>;

const EVP_MD *algorithm()
{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    // EVP_sha256() would look the algorithm up anew in every call.
    static const EVP_MD *const fetched =
        EVP_MD_fetch(nullptr, "SHA256", nullptr);
#else
    static const EVP_MD *const fetched = EVP_sha256();
#endif
    return fetched;
}

Sha256 sha256_of_both(std::string_view a, std::string_view b)
{
    static thread_local const DigestContext context(EVP_MD_CTX_new());
    Sha256 out;
    // A wrong digest would let a wrong token in, so there is no going on.
    if (context == nullptr || algorithm() == nullptr ||
        EVP_DigestInit_ex(context.get(), algorithm(), nullptr) != 1 ||
        EVP_DigestUpdate(context.get(), a.data(), a.size()) != 1 ||
        EVP_DigestUpdate(context.get(), b.data(), b.size()) != 1 ||
        EVP_DigestFinal_ex(context.get(), out.data(), nullptr) != 1) {
        fatal("libcrypto cannot compute SHA-256");
    }
    return out;
}

} // namespace

Sha256 sha256(std::string_view bytes)
{
    return sha256_of_both(bytes, {});
}

// RFC 2104. HMAC() would look the algorithm up and make its contexts anew in
// every call, which takes several times as long as the digests.
Sha256 hmac_sha256(std::string_view secret, std::string_view bytes)
{
    std::array<char, kBlock> inner{};
    if (secret.size() > kBlock) {
        const Sha256 short_one = sha256(secret);
        std::copy(short_one.begin(), short_one.end(), inner.begin());
    } else {
        std::copy(secret.begin(), secret.end(), inner.begin());
    }
    std::array<char, kBlock> outer = inner;
    for (size_t i = 0; i < kBlock; i++) {
        inner[i] = static_cast<char>(inner[i] ^ 0x36);
        outer[i] = static_cast<char>(outer[i] ^ 0x5c);
    }
    const Sha256 digest = sha256_of_both({inner.data(), inner.size()}, bytes);
    const Sha256 out = sha256_of_both(
        {outer.data(), outer.size()},
        {reinterpret_cast<const char *>(digest.data()), digest.size()});
    OPENSSL_cleanse(inner.data(), inner.size());
    OPENSSL_cleanse(outer.data(), outer.size());
    return out;
}

bool equal_constant_time(const Sha256 &a, const Sha256 &b)
{
    return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string hex(const Sha256 &digest, size_t digits)
{
    static const char alphabet[] = "0123456789abcdef";
    char text[2 * std::tuple_size<Sha256>::value];
    digits = std::min(digits, sizeof(text));
    for (size_t i = 0; 2 * i < digits; i++) {
        text[2 * i] = alphabet[digest[i] >> 4];
        text[2 * i + 1] = alphabet[digest[i] & 15];
    }
    return {text, digits};
}

bool parse_hex(std::string_view text, Sha256 &out)
{
    Sha256 parsed;
    if (text.size() != 2 * parsed.size()) {
        return false;
    }
    for (size_t i = 0; i < parsed.size(); i++) {
        const int high = hex_value(text[2 * i]);
        const int low = hex_value(text[2 * i + 1]);
        if (high == -1 || low == -1) {
            return false;
        }
        parsed[i] = static_cast<uint8_t>(high * 16 + low);
    }
    out = parsed;
    return true;
}

std::string crypto_version()
{
    // "OpenSSL 3.0.17 1 Jul 2025"
    const std::vector<std::string_view> running =
        split_list(OpenSSL_version(OPENSSL_VERSION), ' ');
    const std::vector<std::string_view> built =
        split_list(OPENSSL_VERSION_TEXT, ' ');
    return library_version("libcrypto", running[1], built[1]);
}

void wipe(std::string &secret)
{
    OPENSSL_cleanse(secret.data(), secret.size());
    secret.clear();
}

} // namespace llmproxy
