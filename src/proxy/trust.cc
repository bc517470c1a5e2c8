// Who is on the other end of a connection, as far as that can be known.
#include "llm_proxy/proxy/trust.h"

#include "llm_proxy/base/strings.h"

#include <array>
#include <cstring>
#include <string>

#include <arpa/inet.h>

namespace llmproxy
{

namespace
{

using Address = std::array<uint8_t, 16>;

constexpr std::string_view kUnix = "unix";

// "192.0.2.1:80" or "[fd00::1]:80"; IPv4 becomes ::ffff:a.b.c.d.
bool parse_peer(std::string_view peer, Address &out)
{
    std::string host(peer.substr(0, peer.rfind(':')));
    Address address{};
    if (starts_with(host, "[")) {
        host = host.substr(1, host.size() - 2);
        if (inet_pton(AF_INET6, host.c_str(), address.data()) != 1) {
            return false;
        }
    } else {
        address[10] = address[11] = 0xff;
        if (inet_pton(AF_INET, host.c_str(), address.data() + 12) != 1) {
            return false;
        }
    }
    out = address;
    return true;
}

bool contains(const AddressRange &range, const Address &address)
{
    const size_t whole = range.prefix / 8;
    const unsigned rest = range.prefix % 8;
    if (memcmp(range.base.data(), address.data(), whole) != 0) {
        return false;
    }
    return rest == 0 || (range.base[whole] ^ address[whole]) >> (8 - rest) == 0;
}

// As the kernel's address is written: 127.0.0.0/8, also inside of IPv6, ::1.
bool is_loopback(std::string_view peer)
{
    return starts_with(peer, "127.") || starts_with(peer, "[::1]:") ||
           starts_with(peer, "[::ffff:127.");
}

// What a web server in front adds, whatever its value.
bool was_forwarded(const RequestHead &head)
{
    for (const Field &field : head.fields) {
        if (iequals(field.name, "Forwarded") || iequals(field.name, "Via") ||
            iequals(field.name, "X-Real-IP") ||
            iequals(field.name.substr(0, 12), "X-Forwarded-")) {
            return true;
        }
    }
    return false;
}

} // namespace

bool is_trusted_proxy(const Config &config, std::string_view peer)
{
    Address address;
    if (peer == kUnix) {
        return true;
    }
    if (config.trusted_proxies.empty() || !parse_peer(peer, address)) {
        return false;
    }
    for (const AddressRange &range : config.trusted_proxies) {
        if (contains(range, address)) {
            return true;
        }
    }
    return false;
}

bool is_admin_peer(const Config &config, std::string_view peer,
                   const RequestHead &head)
{
    return is_trusted_proxy(config, peer) ||
           (is_loopback(peer) && !was_forwarded(head));
}

} // namespace llmproxy
