// The URL of the store that daemons share: read strictly, because what one
// client takes for a password another takes for a host, and shown without its
// secret.
#include "llm_proxy/config/redis_url.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/http/url.h"

#include <algorithm>
#include <cstring>

#include <sys/un.h>

namespace llmproxy
{

namespace
{

constexpr uint64_t kMaxDb = 1'000'000;

bool wrong(const char *what, Error &err)
{
    err.message = what;
    return false;
}

// One part of the URL, without escapes.
bool decode(std::string_view text, std::string &out, Error &err)
{
    if (!percent_decode(text, out) || out.find('\0') != std::string::npos) {
        return wrong("the URL holds a broken escape; a % is written %25", err);
    }
    return true;
}

bool read_login(std::string_view text, RedisUrl &url, Error &err)
{
    const size_t colon = text.find(':');
    if (colon == std::string_view::npos || colon + 1 == text.size()) {
        return wrong("a login in the URL is user:password@ or :password@", err);
    }
    if (text.find_first_of(":@", colon + 1) != std::string_view::npos) {
        return wrong("the login in the URL holds a : or @ too many; in a "
                     "password they are written %3A and %40",
                     err);
    }
    return decode(text.substr(0, colon), url.user, err) &&
           decode(text.substr(colon + 1), url.password, err);
}

bool read_db(std::string_view text, RedisUrl &url, Error &err)
{
    if (!parse_u64(text, url.db) || url.db > kMaxDb) {
        return wrong("the URL's database must be a number, as in "
                     "redis://127.0.0.1:6379/0",
                     err);
    }
    return true;
}

// What follows "unix://" and the login: /path[?db=N].
bool read_unix(std::string_view text, RedisUrl &url, Error &err)
{
    const size_t mark = std::min(text.find('?'), text.size());
    if (!decode(text.substr(0, mark), url.unix_path, err)) {
        return false;
    }
    if (url.unix_path.size() < 2 || url.unix_path.front() != '/' ||
        url.unix_path.size() >= sizeof sockaddr_un::sun_path) {
        return wrong("the URL needs the absolute path of a socket, of at most "
                     "107 bytes: unix:///run/redis/redis.sock",
                     err);
    }
    if (mark == text.size()) {
        return true;
    }
    const std::string_view query = text.substr(mark + 1);
    if (!starts_with(query, "db=")) {
        return wrong("after a socket's path only ?db=N is known", err);
    }
    return read_db(query.substr(3), url, err);
}

// What follows "redis://" and the login: host[:port][/db].
bool read_tcp(std::string_view text, RedisUrl &url, Error &err)
{
    const size_t slash = std::min(text.find('/'), text.size());
    const std::string_view authority = text.substr(0, slash);
    if (!valid_host_port(authority)) {
        return wrong("the URL needs a host and, after a colon, a port from 1 "
                     "to 65535 (an IPv6 address in brackets); in a password "
                     "/ is written %2F",
                     err);
    }
    const bool v6 = authority.front() == '[';
    const size_t host_end = v6 ? authority.find(']') : 0;
    const size_t colon =
        std::min(authority.find(':', host_end), authority.size());
    url.host =
        v6 ? authority.substr(1, host_end - 1) : authority.substr(0, colon);
    uint64_t port = url.port;
    if (colon < authority.size() &&
        !parse_u64(authority.substr(colon + 1), port)) {
        return wrong("the URL's port is no number", err);
    }
    url.port = static_cast<uint16_t>(port);
    const std::string_view path = text.substr(slash);
    return path.size() <= 1 || read_db(path.substr(1), url, err);
}

bool read_scheme(std::string_view scheme, bool &is_unix, RedisUrl &url)
{
    is_unix = iequals(scheme, "unix") || iequals(scheme, "redis+unix");
    url.tls = iequals(scheme, "rediss");
    return is_unix || url.tls || iequals(scheme, "redis");
}

} // namespace

bool operator==(const RedisUrl &a, const RedisUrl &b)
{
    return a.tls == b.tls && a.host == b.host && a.port == b.port &&
           a.unix_path == b.unix_path && a.user == b.user &&
           a.password == b.password && a.db == b.db;
}

bool parse_redis_url(std::string_view text, RedisUrl &out, Error &err)
{
    for (const char c : text) {
        if (c <= 0x20 || c >= 0x7f) {
            return wrong("the URL holds a space, a control byte or a byte "
                         "that is not ASCII",
                         err);
        }
    }
    RedisUrl url;
    bool is_unix = false;
    const size_t mark = text.find("://");
    if (mark == std::string_view::npos ||
        !read_scheme(text.substr(0, mark), is_unix, url)) {
        return wrong("the URL must begin with redis://, rediss:// or unix://",
                     err);
    }
    std::string_view rest = text.substr(mark + 3);
    if (rest.find('#') != std::string_view::npos) {
        return wrong("the URL must have no #; in a password it is written %23",
                     err);
    }
    const std::string_view front =
        rest.substr(0, std::min(rest.find('/'), rest.size()));
    const size_t at = front.rfind('@');
    if (at != std::string_view::npos) {
        if (!read_login(front.substr(0, at), url, err)) {
            return false;
        }
        rest.remove_prefix(at + 1);
    }
    if (is_unix ? !read_unix(rest, url, err) : !read_tcp(rest, url, err)) {
        return false;
    }
    out = std::move(url);
    return true;
}

bool speaks_redis_tls()
{
    return LLMPROXY_REDIS_TLS != 0;
}

std::string masked_redis_url(const RedisUrl &url)
{
    std::string text = !url.unix_path.empty() ? "unix://"
                       : url.tls              ? "rediss://"
                                              : "redis://";
    if (!url.password.empty()) {
        text += url.user + ":***@";
    }
    if (!url.unix_path.empty()) {
        return text + url.unix_path + "?db=" + std::to_string(url.db);
    }
    const bool v6 = url.host.find(':') != std::string::npos;
    text += v6 ? "[" + url.host + "]" : url.host;
    return text + ":" + std::to_string(url.port) + "/" + std::to_string(url.db);
}

} // namespace llmproxy
