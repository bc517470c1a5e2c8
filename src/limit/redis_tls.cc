// TLS to Redis. hiredis' own way to begin it checks no host name, so the
// session is made here and handed over.
#include "redis_tls.h"

#if LLMPROXY_REDIS_TLS
#include "llm_proxy/base/handles.h"

#include <cstdint>

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#endif

namespace llmproxy
{

#if LLMPROXY_REDIS_TLS

namespace
{

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

} // namespace

bool begin_redis_tls(redisContext &context, const std::string &host,
                     const std::string &ca_file, Error &err)
{
    const Handle<SSL_CTX, SSL_CTX_free> settings(
        SSL_CTX_new(TLS_client_method()));
    if (settings == nullptr ||
        SSL_CTX_set_min_proto_version(settings.get(), TLS1_2_VERSION) != 1 ||
        (ca_file.empty()
             ? SSL_CTX_set_default_verify_paths(settings.get())
             : SSL_CTX_load_verify_locations(settings.get(), ca_file.c_str(),
                                             nullptr)) != 1) {
        err.message = "the certificates to check it against cannot be read";
        return false;
    }
    SSL_CTX_set_verify(settings.get(), SSL_VERIFY_PEER, nullptr);
    Handle<SSL, SSL_free> session(SSL_new(settings.get()));
    if (session == nullptr || !expect_host(session.get(), host)) {
        err.message = "TLS cannot be begun";
        return false;
    }
    // Takes the session, whatever the result.
    if (redisInitiateSSL(&context, session.release()) != REDIS_OK) {
        err.message = context.errstr;
        return false;
    }
    return true;
}

#else

bool begin_redis_tls(redisContext & /*context*/, const std::string & /*host*/,
                     const std::string & /*ca_file*/, Error &err)
{
    err.message = "this build speaks no TLS to Redis";
    return false;
}

#endif

} // namespace llmproxy
