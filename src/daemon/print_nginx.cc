// --print-nginx: what nginx/ says, for the settings at hand and in one piece.
#include "print_nginx.h"

#include "llm_proxy/http/api_error.h"

#include <algorithm>
#include <string_view>

namespace llmproxy
{

namespace
{

constexpr int64_t kMarginMs = 20'000;

// @NAME@ stands for what the settings say.
constexpr std::string_view kServer =
    R"nginx(# In nginx's http {}, printed by llm-proxyd --print-nginx. TLS, a
# log and the shapes with auth_request and X-Accel-Redirect are in the folder
# nginx/ of llm-proxy's documentation.
upstream llm_proxyd {
    server @PROXY@;
    keepalive 256;
    keepalive_timeout @KEEPALIVE@; # less than KEEPALIVE_TIMEOUT
}

# OpenAI's shape for errors of nginx's own.
map $status $llm_nginx_error {
@ERRORS@}
map $status $llm_nginx_retry_after {
    default "";
    503 1;
}

server {
    listen 80;
    server_name llm.example;

    location ~ ^/(v[12]/|((de)?tokenize|classify|pooling|healthz|readyz)$) {
        proxy_pass http://llm_proxyd;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Host $host;
        proxy_set_header X-Forwarded-Proto $scheme;
        # What a client may have sent; nothing of it is true here.
        proxy_headers_hash_max_size 1024;
        proxy_headers_hash_bucket_size 128;
        proxy_set_header X-Forwarded-Port "";
        proxy_set_header X-Forwarded-Prefix "";
        proxy_set_header X-Forwarded-Path "";
        proxy_set_header X-Forwarded-Server "";
        proxy_set_header X-Forwarded-Uri "";
        proxy_set_header X-Forwarded-Method "";
        proxy_set_header X-Forwarded-Ssl "";
        proxy_set_header X-Forwarded-Scheme "";
        proxy_set_header X-Forwarded-Protocol "";
        proxy_set_header X-Forwarded-By "";
        proxy_set_header X-Forwarded-User "";
        proxy_set_header X-Forwarded-Email "";
        proxy_set_header X-Forwarded-Groups "";
        proxy_set_header X-Forwarded-Preferred-Username "";
        proxy_set_header X-Forwarded-Access-Token "";
        proxy_set_header X-Forwarded-Client-Cert "";
        proxy_set_header X-Forwarded-Tls-Client-Cert "";
        proxy_set_header X-Forwarded-Tls-Client-Cert-Info "";
        proxy_set_header Forwarded "";
        proxy_set_header Via "";
        proxy_set_header Upgrade "";
        proxy_set_header Proxy "";
        proxy_set_header X-Proxy-Backend "";
        proxy_set_header X-Proxy-Label "";
        proxy_set_header X-Proxy-Status "";
        proxy_set_header X-Proxy-Error "";
        proxy_set_header X-Proxy-Partial "";
        proxy_set_header X-Proxy-Dropped-Params "";
        proxy_set_header X-Proxy-Secret "";
        proxy_set_header X-Original-URI "";
        proxy_set_header X-Original-Method "";
        proxy_set_header X-Original-URL "";
        proxy_set_header X-Original-Host "";
        proxy_set_header X-Original-Forwarded-For "";
        proxy_set_header X-Rewrite-URL "";
        proxy_set_header X-Client-IP "";
        proxy_set_header X-Cluster-Client-IP "";
        proxy_set_header True-Client-IP "";
        proxy_set_header X-Accel-Redirect "";
        proxy_set_header X-Accel-Buffering "";
        # What only nginx may say, and here does not.
        proxy_set_header X-RateLimit-Checked "";
        proxy_set_header X-Accel-Mode "";
        proxy_hide_header X-Proxy-Label;
        proxy_hide_header X-Proxy-Backend;

        client_max_body_size @BODY@; # MAX_BODY_BYTES
        client_body_timeout @BODY_PATIENCE@; # BODY_TIMEOUT
        send_timeout @WRITE_PATIENCE@; # WRITE_TIMEOUT
        proxy_read_timeout @ANSWER_PATIENCE@; # more than FIRST_BYTE_TIMEOUT
        proxy_buffering off; # streams pass piece by piece
        proxy_next_upstream off; # no generation is paid for twice
    }
    location / {
        return 404;
    }

    error_page 400 404 405 408 413 414 421 500 501 503 504 505 /_llm_error;
    error_page 494 =431 /_llm_error;
    error_page 495 496 497 =400 /_llm_error;
    error_page 502 =503 /_llm_error; # the daemon is down
    location = /_llm_error {
        internal;
        client_max_body_size 0; # or it would itself be too large
        default_type application/json;
        add_header Retry-After $llm_nginx_retry_after always;
        return 200 $llm_nginx_error;
    }
}
)nginx";

// Errors of nginx's own, in the daemon's words. Others are the first one's.
constexpr ApiErrorKind kErrors[] = {
    ApiErrorKind::InvalidRequest, ApiErrorKind::BadHttp,
    ApiErrorKind::UnknownUrl,     ApiErrorKind::MethodNotSupported,
    ApiErrorKind::RequestTimeout, ApiErrorKind::RequestTooLarge,
    ApiErrorKind::UriTooLong,     ApiErrorKind::HeadersTooLarge,
    ApiErrorKind::Internal,       ApiErrorKind::UnsupportedTransferCoding,
    ApiErrorKind::Overloaded,     ApiErrorKind::BackendTimeout,
    ApiErrorKind::HttpVersion,
};

void append_quoted(std::string &out, std::string_view text, char quote)
{
    out += quote;
    for (const char c : text) {
        if (c == quote || c == '\\') {
            out += '\\';
        }
        out += c;
    }
    out += quote;
}

// Lines of a map from the status.
std::string error_lines(const Config &config)
{
    std::string lines;
    for (const ApiErrorKind kind : kErrors) {
        ApiError error;
        error.kind = kind;
        if (kind == ApiErrorKind::RequestTooLarge) {
            error.message = "The request body is larger than " +
                            std::to_string(config.max_body_bytes) + " bytes.";
        } else if (kind == ApiErrorKind::Overloaded) {
            error.message = "The proxy is not available.";
        }
        lines += "    ";
        lines += kind == kErrors[0] ? "default"
                                    : std::to_string(api_error_status(error));
        lines += ' ';
        append_quoted(lines, api_error_body(error), '\'');
        lines += ";\n";
    }
    return lines;
}

void fill_in(std::string &text, std::string_view name, std::string_view value)
{
    const std::string mark(name);
    for (size_t at = text.find(mark); at != std::string::npos;
         at = text.find(mark, at + value.size())) {
        text.replace(at, mark.size(), value);
    }
}

std::string seconds(int64_t ms)
{
    return std::to_string(std::max<int64_t>(1, (ms + 999) / 1000)) + "s";
}

// Where nginx on this machine finds the daemon; a socket file rather than a
// port. `out` is empty before.
bool proxy_address(const Config &config, std::string &out)
{
    for (const ListenAddress &address : config.listen) {
        if (!address.unix_path.empty()) {
            append_quoted(out, "unix:" + address.unix_path, '"');
            return true;
        }
    }
    for (const ListenAddress &address : config.listen) {
        if (address.port != 0) {
            const std::string port = ":" + std::to_string(address.port);
            append_quoted(out,
                          address.host == "0.0.0.0" ? "127.0.0.1" + port
                          : address.host == "::"    ? "[::1]" + port
                                                    : address.text,
                          '"');
            return true;
        }
    }
    return false;
}

} // namespace

bool nginx_server(const Config &config, std::string &out, Error &err)
{
    std::string address;
    if (!proxy_address(config, address)) {
        err.message = "no address for nginx: the kernel chooses the port";
        return false;
    }
    const int64_t answer_ms =
        std::max(config.first_byte_timeout_ms, config.stream_idle_timeout_ms);
    std::string text(kServer);
    fill_in(text, "@PROXY@", address);
    fill_in(text, "@ERRORS@", error_lines(config));
    fill_in(text, "@KEEPALIVE@", seconds(config.keepalive_timeout_ms * 4 / 5));
    fill_in(text, "@BODY@", std::to_string(config.max_body_bytes));
    fill_in(text, "@BODY_PATIENCE@", seconds(config.body_timeout_ms));
    fill_in(text, "@WRITE_PATIENCE@", seconds(config.write_timeout_ms));
    fill_in(text, "@ANSWER_PATIENCE@", seconds(answer_ms + kMarginMs));
    out = std::move(text);
    return true;
}

} // namespace llmproxy
