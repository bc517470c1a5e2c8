#ifndef LLM_PROXY_HTTP_URL_H
#define LLM_PROXY_HTTP_URL_H

#include "llm_proxy/base/error.h"

#include <string>
#include <string_view>

namespace llmproxy
{

// A backend's base URL.
struct BaseUrl {
    std::string text;      // scheme://host[:port][/path], no trailing slash
    std::string authority; // host[:port] as written
    bool tls = false;
};

// Accepts http and https only; no user info, query, fragment, spaces or
// control bytes; the port 1..65535. Strips trailing slashes.
[[nodiscard]] bool parse_base_url(std::string_view text, BaseUrl &out,
                                  Error &err);
// host[:port] with a host that is a name, an IPv4 or a bracketed IPv6
// address, of at most 255 bytes.
bool valid_host_port(std::string_view text);
// Takes one trailing path segment (such as "/v1") off, if it is there.
void strip_path_suffix(BaseUrl &url, std::string_view suffix);

} // namespace llmproxy

#endif
