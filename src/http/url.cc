// The URLs of backends, and the host[:port] grammar that they share with the
// Host field.
#include "llm_proxy/http/url.h"

#include "llm_proxy/base/strings.h"

namespace llmproxy
{

namespace
{

bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// An IPv6 address in brackets; the shape only, the resolver knows the rest.
bool valid_literal(std::string_view host)
{
    if (host.size() < 4 || host.back() != ']') {
        return false;
    }
    bool colon = false;
    for (const char c : host.substr(1, host.size() - 2)) {
        const bool hex =
            is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (!hex && c != ':' && c != '.') {
            return false;
        }
        colon = colon || c == ':';
    }
    return colon;
}

// Narrower than RFC 3986: no sub-delims and no escapes. No real name has
// them, and peers disagree about what a "," or "%2f" in a host means.
bool valid_name(std::string_view host)
{
    for (const char c : host) {
        if (!is_alnum(c) && c != '-' && c != '.' && c != '_' && c != '~') {
            return false;
        }
    }
    return !host.empty();
}

constexpr size_t kMaxHost = 255;

bool valid_port(std::string_view port)
{
    uint64_t number = 0;
    return port.size() <= 5 && parse_u64(port, number) && number >= 1 &&
           number <= 65535;
}

} // namespace

bool valid_host_port(std::string_view text)
{
    if (text.empty()) {
        return false;
    }
    const size_t host_end = text.front() == '[' ? text.find(']') : 0;
    if (host_end == std::string_view::npos) {
        return false;
    }
    const size_t colon = text.find(':', host_end);
    const std::string_view host = text.substr(0, colon);
    if (host.size() > kMaxHost) {
        return false;
    }
    if (colon != std::string_view::npos &&
        !valid_port(text.substr(colon + 1))) {
        return false;
    }
    return text.front() == '[' ? valid_literal(host) : valid_name(host);
}

bool parse_base_url(std::string_view text, BaseUrl &out, Error &err)
{
    for (const char c : text) {
        if (c <= 0x20 || c >= 0x7f) {
            err.message = "the URL holds a space, a control byte or a byte "
                          "that is not ASCII";
            return false;
        }
    }
    const size_t mark = text.find("://");
    const std::string_view scheme =
        mark == std::string_view::npos ? "" : text.substr(0, mark);
    if (!iequals(scheme, "http") && !iequals(scheme, "https")) {
        err.message = "the URL must begin with http:// or https://";
        return false;
    }
    std::string_view rest = text.substr(mark + 3);
    if (rest.find_first_of("?#") != std::string_view::npos) {
        err.message = "the URL must have no query and no fragment";
        return false;
    }
    while (!rest.empty() && rest.back() == '/') {
        rest.remove_suffix(1);
    }
    const std::string_view authority = rest.substr(0, rest.find('/'));
    if (authority.find('@') != std::string_view::npos) {
        err.message = "the URL must have no user name or password; a key for "
                      "a backend has a setting of its own";
        return false;
    }
    if (!valid_host_port(authority)) {
        err.message = "the URL needs a host and, after a colon, a port from "
                      "1 to 65535 (an IPv6 address in brackets)";
        return false;
    }
    out.tls = iequals(scheme, "https");
    out.authority = std::string(authority);
    out.text = out.tls ? "https://" : "http://";
    out.text += rest;
    return true;
}

void strip_path_suffix(BaseUrl &url, std::string_view suffix)
{
    const size_t path_begin = url.text.find("://") + 3 + url.authority.size();
    if (suffix.empty() ||
        !ends_with(std::string_view(url.text).substr(path_begin), suffix)) {
        return;
    }
    url.text.resize(url.text.size() - suffix.size());
    while (url.text.back() == '/') {
        url.text.pop_back();
    }
}

} // namespace llmproxy
