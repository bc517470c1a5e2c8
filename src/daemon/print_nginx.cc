// --print-nginx: what nginx/ says, for the settings at hand and in one piece.
#include "print_nginx.h"

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
    server "@PROXY@";
    keepalive 256;
    keepalive_timeout @KEEPALIVE@; # less than KEEPALIVE_TIMEOUT
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
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Forwarded "";
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

        error_page 413 @llm_too_large;
        error_page 502 =503 @llm_unavailable;
        error_page 503 504 @llm_unavailable;
    }

    location @llm_too_large {
        default_type application/json;
        return 413 '{"error":{
            "message":"The request body is larger than @BODY@ bytes.",
            "type":"invalid_request_error","param":null,
            "code":"request_too_large"}}';
    }
    location @llm_unavailable {
        default_type application/json;
        add_header Retry-After 1 always;
        return 200 '{"error":{"message":"The proxy is not available.",
            "type":"server_error","param":null,"code":"overloaded"}}';
    }
}
)nginx";

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
// port.
bool proxy_address(const Config &config, std::string &out)
{
    for (const ListenAddress &address : config.listen) {
        if (!address.unix_path.empty()) {
            out = "unix:";
            for (const char c : address.unix_path) {
                if (c == '"' || c == '\\') {
                    out += '\\';
                }
                out += c;
            }
            return true;
        }
    }
    for (const ListenAddress &address : config.listen) {
        if (address.port != 0) {
            const std::string port = ":" + std::to_string(address.port);
            out = address.host == "0.0.0.0" ? "127.0.0.1" + port
                  : address.host == "::"    ? "[::1]" + port
                                            : address.text;
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
    fill_in(text, "@KEEPALIVE@", seconds(config.keepalive_timeout_ms * 4 / 5));
    fill_in(text, "@BODY@", std::to_string(config.max_body_bytes));
    fill_in(text, "@BODY_PATIENCE@", seconds(config.body_timeout_ms));
    fill_in(text, "@WRITE_PATIENCE@", seconds(config.write_timeout_ms));
    fill_in(text, "@ANSWER_PATIENCE@", seconds(answer_ms + kMarginMs));
    out = std::move(text);
    return true;
}

} // namespace llmproxy
