#ifndef LLM_PROXY_SRC_CONFIG_ADDRESSES_H
#define LLM_PROXY_SRC_CONFIG_ADDRESSES_H

#include "llm_proxy/base/strings.h"
#include "llm_proxy/config/settings.h"

#include <algorithm>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <sys/un.h>

#include "quoted.h"

// Addresses as settings write them: where to listen, whom to trust.
namespace llmproxy
{

inline bool is_address(int family, const std::string &text, uint8_t *out)
{
    return inet_pton(family, text.c_str(), out) == 1;
}

inline bool parse_unix_address(std::string_view path, ListenAddress &out,
                               Error &err)
{
    if (path.empty() || path.front() != '/' ||
        path.size() >= sizeof sockaddr_un::sun_path) {
        err.message = "a unix socket needs an absolute path of at most 107 "
                      "bytes: unix:/run/llm-proxy/http.sock";
        return false;
    }
    out.unix_path = path;
    return true;
}

// "host:port", "[v6]:port" or "unix:/path".
[[nodiscard]] inline bool parse_listen_address(std::string_view text,
                                               ListenAddress &out, Error &err)
{
    ListenAddress address;
    address.text = text;
    if (starts_with(text, "unix:")) {
        if (!parse_unix_address(text.substr(5), address, err)) {
            return false;
        }
        out = std::move(address);
        return true;
    }
    const size_t colon = text.rfind(':');
    uint64_t port = 0;
    if (colon == std::string_view::npos ||
        !parse_u64(text.substr(colon + 1), port) || port > 65535) {
        err.message = quoted(text) + " needs a port from 0 to 65535 at its "
                                     "end: 127.0.0.1:8080";
        return false;
    }
    std::string_view host = text.substr(0, colon);
    uint8_t bytes[16];
    if (starts_with(host, "[") && ends_with(host, "]")) {
        host = host.substr(1, host.size() - 2);
        const std::string bare(host.substr(0, host.find('%')));
        if (!is_address(AF_INET6, bare, bytes)) {
            err.message = quoted(text) + " holds no IPv6 address in []";
            return false;
        }
    } else if (host.empty() || host.find_first_not_of(
                                   "abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789.-_") != std::string_view::npos) {
        err.message = quoted(text) +
                      " must be host:port, [IPv6]:port or unix:/path; all "
                      "addresses are 0.0.0.0:port and [::]:port";
        return false;
    }
    address.host = host;
    address.port = static_cast<uint16_t>(port);
    out = std::move(address);
    return true;
}

// Whether only this machine can reach the address.
inline bool is_local(const ListenAddress &address)
{
    uint8_t bytes[4];
    return !address.unix_path.empty() || iequals(address.host, "localhost") ||
           address.host == "::1" ||
           (starts_with(address.host, "127.") &&
            is_address(AF_INET, address.host, bytes));
}

// "10.0.0.0/8", "fd00::/8" or one address.
[[nodiscard]] inline bool parse_range(std::string_view text, AddressRange &out,
                                      Error &err)
{
    const size_t slash = std::min(text.find('/'), text.size());
    const std::string address(text.substr(0, slash));
    AddressRange range;
    uint64_t prefix = 0;
    const bool v4 = address.find(':') == std::string::npos;
    const unsigned first = v4 ? 96 : 0;
    range.base[10] = range.base[11] = v4 ? 0xff : 0;
    if (!is_address(v4 ? AF_INET : AF_INET6, address,
                    range.base.data() + first / 8)) {
        err.message = quoted(text) + " is no address or range of them: "
                                     "10.0.0.0/8, fd00::/8, 192.0.2.1";
        return false;
    }
    if (slash == text.size()) {
        prefix = 128 - first;
    } else if (!parse_u64(text.substr(slash + 1), prefix) ||
               prefix > 128 - first) {
        err.message = quoted(text) + " needs a prefix length from 0 to " +
                      std::to_string(128 - first) + " after the slash";
        return false;
    }
    range.prefix = static_cast<unsigned>(prefix) + first;
    for (unsigned bit = range.prefix; bit < 128; bit++) {
        if ((range.base[bit / 8] >> (7 - bit % 8) & 1) != 0) {
            err.message = quoted(text) + " has bits set after its prefix; "
                                         "write the range's first address";
            return false;
        }
    }
    out = range;
    return true;
}

} // namespace llmproxy

#endif
