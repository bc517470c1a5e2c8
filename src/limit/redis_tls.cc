// TLS to Redis. hiredis' own way to begin it checks no host name, so the
// session is made here and handed over; and hiredis says nothing of why it
// failed, so that is asked here, too.
#include "redis_tls.h"

#include "llm_proxy/limit/redis_limiter.h"

#if LLMPROXY_REDIS_TLS
#include "llm_proxy/base/handles.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#endif

namespace llmproxy
{

#if LLMPROXY_REDIS_TLS

class RedisTrust
{
public:
    explicit RedisTrust(SSL_CTX *settings) : settings_(settings) {}
    SSL_CTX *settings() const { return settings_.get(); }

private:
    Handle<SSL_CTX, SSL_CTX_free> settings_;
};

namespace
{

// What to do about an error, beside OpenSSL's words for it.
struct Remedy {
    int code;
    const char *text;
};

constexpr const char *kNameIssuer =
    "; REDIS_CA_FILE must hold the certificate of its issuer";
constexpr const char *kNameHost = "; REDIS_URL must name the host as it does";
const Remedy kOfCertificates[] = {
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, kNameIssuer},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, kNameIssuer},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, kNameIssuer},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, kNameIssuer},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, kNameIssuer},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, kNameIssuer},
    {X509_V_ERR_HOSTNAME_MISMATCH, kNameHost},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, kNameHost},
};
const Remedy kOfSessions[] = {
    {SSL_R_WRONG_VERSION_NUMBER, "; the port may be one without TLS"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED,
     "; the server must do without one: tls-auth-clients no"},
};

template <size_t N>
const char *remedy(const Remedy (&known)[N], int code)
{
    const Remedy *const found =
        std::find_if(std::begin(known), std::end(known),
                     [&](const Remedy &each) { return each.code == code; });
    return found == std::end(known) ? "" : found->text;
}

bool is_address(const std::string &host)
{
    uint8_t bytes[16];
    return inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
           inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

bool expect_host(SSL *session, const std::string &host)
{
    if (is_address(host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session),
                                             host.c_str()) == 1;
    }
    return SSL_set1_host(session, host.c_str()) == 1 &&
           SSL_set_tlsext_host_name(session, host.c_str()) == 1;
}

bool load(SSL_CTX *settings, const std::string &ca_file)
{
    return (ca_file.empty() ? SSL_CTX_set_default_verify_paths(settings)
                            : SSL_CTX_load_verify_locations(
                                  settings, ca_file.c_str(), nullptr)) == 1;
}

} // namespace

bool read_redis_trust(Config &config, Error &err)
{
    if (config.limit_store != LimitStore::Redis || !config.redis_url.tls) {
        return true;
    }
    Handle<SSL_CTX, SSL_CTX_free> settings(SSL_CTX_new(TLS_client_method()));
    if (settings == nullptr ||
        SSL_CTX_set_min_proto_version(settings.get(), TLS1_2_VERSION) != 1) {
        err.message = "TLS cannot be set up";
        return false;
    }
    if (!load(settings.get(), config.redis_ca_file)) {
        err.message = "REDIS_CA_FILE: " + config.redis_ca_file +
                      " holds something that is no certificate in PEM format";
        return false;
    }
    SSL_CTX_set_verify(settings.get(), SSL_VERIFY_PEER, nullptr);
    config.redis_trust = std::make_shared<RedisTrust>(settings.release());
    return true;
}

const StoreFault *RedisTls::begin(redisContext &context,
                                  const RedisTrust *trust,
                                  const std::string &host, Error &err)
{
    Handle<SSL, SSL_free> session(
        trust == nullptr ? nullptr : SSL_new(trust->settings()));
    if (session == nullptr || !expect_host(session.get(), host)) {
        err.message = "it cannot be begun";
        return &kTlsFailed;
    }
    session_ = session.release();
    if (redisInitiateSSL(&context, session_) == REDIS_OK) {
        return nullptr;
    }
    session.reset(session_); // not hiredis' after all
    const StoreFault *fault = find_fault(err.message);
    session_ = nullptr;
    if (fault == nullptr) {
        err.message = context.errstr;
        fault = &kUnreachable;
    }
    return fault;
}

void RedisTls::prepare() const
{
    if (session_ != nullptr) {
        ERR_clear_error();
    }
}

const StoreFault *RedisTls::find_fault(std::string &text) const
{
    if (session_ == nullptr) {
        return nullptr;
    }
    const long verdict = SSL_get_verify_result(session_);
    if (verdict != X509_V_OK) {
        text = "the server's certificate is refused: ";
        text += X509_verify_cert_error_string(verdict);
        text += remedy(kOfCertificates, static_cast<int>(verdict));
        return &kTlsFailed;
    }
    unsigned long code = ERR_peek_error();
    char byte = 0;
    if (ERR_GET_LIB(code) != ERR_LIB_SSL) {
        // A write may have failed before the server's reason was read.
        ERR_clear_error();
        (void)SSL_peek(session_, &byte, 1);
        code = ERR_peek_error();
    }
    const int reason = ERR_GET_REASON(code);
    const char *const words = ERR_reason_error_string(code);
    if (ERR_GET_LIB(code) != ERR_LIB_SSL || words == nullptr) {
        return nullptr;
    }
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        text = "Server closed the connection";
        return &kConnectionLost;
    }
    text = words;
    text += remedy(kOfSessions, reason);
    return &kTlsFailed;
}

bool RedisTls::waiting() const
{
    return session_ != nullptr && SSL_is_init_finished(session_) == 0;
}

#else

class RedisTrust
{
};

bool read_redis_trust(Config & /*config*/, Error & /*err*/)
{
    return true;
}

const StoreFault *RedisTls::begin(redisContext & /*context*/,
                                  const RedisTrust * /*trust*/,
                                  const std::string & /*host*/, Error &err)
{
    err.message = "this build speaks none to Redis";
    return &kTlsFailed;
}

void RedisTls::prepare() const {}

const StoreFault *RedisTls::find_fault(std::string & /*text*/) const
{
    return nullptr;
}

bool RedisTls::waiting() const
{
    return session_ != nullptr;
}

#endif

} // namespace llmproxy
