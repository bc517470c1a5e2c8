// SHA-256 over libcrypto, and what goes with secrets: comparing without a
// timing difference, hexadecimal text, wiping.
#include "llm_proxy/base/digest.h"

#include "llm_proxy/base/handles.h"
#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace llmproxy
{

namespace
{

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

} // namespace

Sha256 sha256(std::string_view bytes)
{
    static thread_local const DigestContext context(EVP_MD_CTX_new());
    Sha256 out;
    // A wrong digest would let a wrong token in, so there is no going on.
    if (context == nullptr || algorithm() == nullptr ||
        EVP_DigestInit_ex(context.get(), algorithm(), nullptr) != 1 ||
        EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) != 1 ||
        EVP_DigestFinal_ex(context.get(), out.data(), nullptr) != 1) {
        fatal("libcrypto cannot compute SHA-256");
    }
    return out;
}

Sha256 hmac_sha256(std::string_view secret, std::string_view bytes)
{
    Sha256 out;
    if (algorithm() == nullptr ||
        HMAC(algorithm(), secret.data(), static_cast<int>(secret.size()),
             reinterpret_cast<const unsigned char *>(bytes.data()),
             bytes.size(), out.data(), nullptr) == nullptr) {
        fatal("libcrypto cannot compute HMAC-SHA-256");
    }
    return out;
}

bool equal_constant_time(const Sha256 &a, const Sha256 &b)
{
    return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string hex(const Sha256 &digest, size_t digits)
{
    static const char alphabet[] = "0123456789abcdef";
    std::string out(std::min(digits, 2 * digest.size()), '0');
    for (size_t i = 0; i < out.size(); i++) {
        const uint8_t byte = digest[i / 2];
        out[i] = alphabet[i % 2 == 0 ? byte >> 4 : byte & 15];
    }
    return out;
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

void wipe(std::string &secret)
{
    OPENSSL_cleanse(secret.data(), secret.size());
    secret.clear();
}

} // namespace llmproxy
