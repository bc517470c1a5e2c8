#ifndef LLM_PROXY_SRC_CONFIG_SETTING_READERS_H
#define LLM_PROXY_SRC_CONFIG_SETTING_READERS_H

#include "llm_proxy/base/files.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/config/settings.h"
#include "llm_proxy/json/value.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "addresses.h"
#include "quoted.h"

// How the text of one setting becomes a typed member of Config. A reader
// knows its own row only; what follows from several is settings.cc's.
namespace llmproxy
{

// A Config in the making, and what only the making needs.
struct Draft {
    Config config;
    std::string host;
    uint64_t port = 0;
};

struct Setting;
using Reader = bool (*)(const Setting &setting, const std::string &value,
                        Draft &draft, Error &err);

// A row of the table and how it is read.
struct Setting {
    SettingRow row;
    Reader read;
    // What the reader needs, of what follows.
    const char *low = ""; // as an operator would write it
    const char *high = "";
    const char *words = ""; // "one|two", and what takes the chosen index
    void (*choose)(Config &config, size_t index) = nullptr;
    uint64_t Config::*count = nullptr;
    int64_t Config::*duration = nullptr;
    std::string Config::*text = nullptr;
    BackendKind backend = BackendKind::Ollama;
};

// Fills err with "must be WANTED, not VALUE"; returns false.
inline bool must_be(const std::string &wanted, std::string_view value,
                    Error &err)
{
    err.message = "must be " + wanted + ", not " + quoted(value);
    if (!value.empty() && (value.front() == '"' || value.front() == '\'')) {
        err.message += " (quotes are part of a value)";
    }
    return false;
}

inline std::string range_of(const Setting &s)
{
    return std::string(" from ") + s.low + " to " + s.high;
}

inline bool read_duration(const Setting &s, const std::string &value,
                          Draft &draft, Error &err)
{
    int64_t low = 0;
    int64_t high = 0;
    int64_t ms = 0;
    if (!parse_duration_ms(s.low, low) || !parse_duration_ms(s.high, high) ||
        !parse_duration_ms(value, ms) || ms < low || ms > high) {
        return must_be("a duration" + range_of(s) +
                           " (500ms, 30s, 5m, 1h; a bare number is seconds)",
                       value, err);
    }
    draft.config.*s.duration = ms;
    return true;
}

inline bool read_size(const Setting &s, const std::string &value, Draft &draft,
                      Error &err)
{
    uint64_t low = 0;
    uint64_t high = 0;
    uint64_t bytes = 0;
    if (!parse_size(s.low, low) || !parse_size(s.high, high) ||
        !parse_size(value, bytes) || bytes < low || bytes > high) {
        return must_be("a size" + range_of(s) +
                           " (64k, 20m, 1g; a bare number is bytes)",
                       value, err);
    }
    draft.config.*s.count = bytes;
    return true;
}

inline bool parse_count(const Setting &s, const std::string &value,
                        uint64_t &out, Error &err)
{
    uint64_t low = 0;
    uint64_t high = 0;
    uint64_t count = 0;
    if (!parse_u64(s.low, low) || !parse_u64(s.high, high) ||
        !parse_u64(value, count) || count < low || count > high) {
        return must_be("a number" + range_of(s), value, err);
    }
    out = count;
    return true;
}

inline bool read_count(const Setting &s, const std::string &value, Draft &draft,
                       Error &err)
{
    return parse_count(s, value, draft.config.*s.count, err);
}

inline bool read_port(const Setting &s, const std::string &value, Draft &draft,
                      Error &err)
{
    return parse_count(s, value, draft.port, err);
}

inline bool read_max_inflight(const Setting &s, const std::string &value,
                              Draft &draft, Error &err)
{
    uint64_t count = 0;
    if (!parse_count(s, value, count, err)) {
        return false;
    }
    for (BackendConfig &backend : draft.config.backends) {
        backend.max_inflight = count;
    }
    return true;
}

inline bool read_control_socket(const Setting & /*s*/, const std::string &value,
                                Draft &draft, Error &err)
{
    ListenAddress address;
    Error why;
    // A new one is made beside the old one, ".new".
    if (!parse_unix_address(value + ".new", address, why)) {
        return must_be("an absolute path of at most 103 bytes "
                       "(/run/llm-proxy/control.sock)",
                       value, err);
    }
    draft.config.control_socket = value;
    return true;
}

inline bool read_text(const Setting &s, const std::string &value, Draft &draft,
                      Error & /*err*/)
{
    draft.config.*s.text = value;
    return true;
}

inline bool read_choice(const Setting &s, const std::string &value,
                        Draft &draft, Error &err)
{
    const std::vector<std::string_view> words = split_list(s.words, '|');
    for (size_t i = 0; i < words.size(); i++) {
        if (words[i] == value) {
            s.choose(draft.config, i);
            return true;
        }
    }
    std::string wanted;
    for (const std::string_view word : words) {
        wanted += wanted.empty() ? "" : word == words.back() ? " or " : ", ";
        wanted += word;
    }
    return must_be(wanted, value, err);
}

inline bool read_redis_url(const Setting & /*s*/, const std::string &value,
                           Draft &draft, Error &err)
{
    RedisUrl url;
    if (!parse_redis_url(value, url, err)) {
        return false;
    }
    if (url.tls && !speaks_redis_tls()) {
        err.message = "rediss:// needs a build with the TLS library of "
                      "hiredis 1.0 or later, and this one has none; use "
                      "redis:// in a private network, unix:// or a tunnel";
        return false;
    }
    draft.config.redis_url = std::move(url);
    return true;
}

inline bool is_known(std::string_view name,
                     const std::vector<std::string_view> &known,
                     const char *kind, Error &err)
{
    if (std::find(known.begin(), known.end(), name) != known.end()) {
        return true;
    }
    const std::string_view nearest = nearest_name(name, known);
    err.message = std::string("unknown ") + kind + " " + quoted(name);
    err.message += nearest.empty() ? std::string("; see llm-proxy.conf(5)")
                                   : "; did you mean " + quoted(nearest) + "?";
    return false;
}

// A list of known names, or "all" of them.
inline bool read_names(const std::string &value,
                       const std::vector<std::string_view> &known,
                       const char *kind, std::vector<std::string> &out,
                       Error &err)
{
    std::vector<std::string> names;
    for (const std::string_view name : split_list(value, ',')) {
        if (name == "all") {
            names.assign(known.begin(), known.end());
        } else if (!is_known(name, known, kind, err)) {
            return false;
        } else if (std::find(names.begin(), names.end(), name) == names.end()) {
            names.emplace_back(name);
        }
    }
    out = std::move(names);
    return true;
}

inline bool read_endpoints(const Setting & /*s*/, const std::string &value,
                           Draft &draft, Error &err)
{
    const std::vector<std::string_view> known(std::begin(kExtraEndpoints),
                                              std::end(kExtraEndpoints));
    return read_names(value, known, "endpoint", draft.config.extra_endpoints,
                      err);
}

// "scheme://host[:port]" in the form that browsers send.
inline bool parse_origin(std::string_view text, std::string &out)
{
    const size_t mark = text.find("://");
    if (mark == 0 || mark == std::string_view::npos ||
        text.substr(0, mark).find_first_not_of(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
            "0123456789+.-") != std::string_view::npos ||
        !valid_host_port(text.substr(mark + 3))) {
        return false;
    }
    out = to_lower(text);
    for (const char *usual : {"http:80", "https:443"}) {
        const std::string_view scheme(usual, strcspn(usual, ":"));
        const std::string_view port = usual + scheme.size();
        if (out.substr(0, mark) == scheme && ends_with(out, port)) {
            out.resize(out.size() - port.size());
        }
    }
    return true;
}

inline bool read_cors_origins(const Setting & /*s*/, const std::string &value,
                              Draft &draft, Error &err)
{
    std::vector<std::string> origins;
    for (const std::string_view item : split_list(value, ',')) {
        std::string origin(item);
        if (item != "*" && !parse_origin(item, origin)) {
            return must_be("a list of origins, scheme://host[:port] and "
                           "nothing behind it, or *",
                           item, err);
        }
        origins.push_back(origin);
    }
    draft.config.cors_origins = std::move(origins);
    return true;
}

inline std::vector<std::string_view> ollama_option_names()
{
    std::vector<std::string_view> names;
    for (const OllamaOption &option : kOllamaOptions) {
        names.emplace_back(option.name);
    }
    return names;
}

inline bool read_options_allow(const Setting & /*s*/, const std::string &value,
                               Draft &draft, Error &err)
{
    const std::vector<std::string_view> known = ollama_option_names();
    return read_names(value, known, "option", draft.config.ollama_options_allow,
                      err);
}

inline bool read_default_options(const Setting & /*s*/,
                                 const std::string &value, Draft &draft,
                                 Error &err)
{
    json::Ptr object;
    Error why;
    if (!json::parse(value, object, why)) {
        err.message = "not valid JSON: " + why.message;
        return false;
    }
    if (std::string_view(json::type_name(object.get())) != "an object") {
        err.message = "must be a JSON object such as {\"num_ctx\":8192}";
        return false;
    }
    const std::vector<std::string_view> known = ollama_option_names();
    for (const std::string_view name : json::keys(object.get())) {
        if (!is_known(name, known, "option", err)) {
            return false;
        }
        const json_t *member =
            json::get(object.get(), std::string(name).c_str());
        const char *wanted = "";
        if (check_ollama_option(*find_ollama_option(name), member, wanted) !=
            OptionFault::None) {
            err.message = "the option " + quoted(name) + " must be " + wanted;
            return false;
        }
    }
    draft.config.ollama_default_options = std::move(object);
    return true;
}

// As Ollama's own variable of that name, but for its other units.
inline bool read_keep_alive(const Setting & /*s*/, const std::string &value,
                            Draft &draft, Error &err)
{
    int64_t ms = kForeverMs;
    if (value != "-1" && !parse_duration_ms(value, ms)) {
        return must_be("a duration (30s, 5m, 1h; 0 unloads at once) or -1, "
                       "for ever",
                       value, err);
    }
    draft.config.ollama_keep_alive_ms = ms;
    return true;
}

inline BackendConfig &backend_of(const Setting &s, Draft &draft)
{
    return draft.config.backends[static_cast<size_t>(s.backend)];
}

inline bool read_base_url(const Setting &s, const std::string &value,
                          Draft &draft, Error &err)
{
    if (value.find(',') != std::string::npos) {
        err.message = "a list of URLs is not supported yet; give one";
        return false;
    }
    BaseUrl url;
    if (!parse_base_url(value, url, err)) {
        return false;
    }
    strip_path_suffix(url, "/v1");
    if (s.backend == BackendKind::Ollama) {
        strip_path_suffix(url, "/api");
    }
    backend_of(s, draft).url = std::move(url);
    return true;
}

// What may stand in a header value and has no blanks.
inline bool read_api_key(const Setting &s, const std::string &value,
                         Draft &draft, Error &err)
{
    for (const char c : value) {
        if (c <= 0x20 || c >= 0x7f) {
            err.message = "must be printable ASCII without blanks";
            return false;
        }
    }
    backend_of(s, draft).api_key = value;
    return true;
}

inline bool check_ca_file(const std::string &value, Error &err)
{
    std::string text;
    bool is_public = false;
    if (!read_file(value, text, is_public, err)) {
        err.message = "cannot read " + quoted(value) + ": " + err.message;
        return false;
    }
    if (text.find("-----BEGIN ") == std::string::npos) {
        err.message = quoted(value) + " holds no certificate in PEM format";
        return false;
    }
    return true;
}

inline bool read_ca_file(const Setting &s, const std::string &value,
                         Draft &draft, Error &err)
{
    if (!check_ca_file(value, err)) {
        return false;
    }
    backend_of(s, draft).ca_file = value;
    return true;
}

inline bool read_redis_ca_file(const Setting & /*s*/, const std::string &value,
                               Draft &draft, Error &err)
{
    if (!check_ca_file(value, err)) {
        return false;
    }
    draft.config.redis_ca_file = value;
    return true;
}

inline std::string host_and_port(const std::string &host, uint64_t port)
{
    const bool v6 = host.find(':') != std::string::npos && host.front() != '[';
    return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

inline bool read_host(const Setting & /*s*/, const std::string &value,
                      Draft &draft, Error &err)
{
    ListenAddress address;
    if (starts_with(value, "unix:") ||
        !parse_listen_address(host_and_port(value, 0), address, err)) {
        return must_be("a host name or an address (LISTEN takes ports and "
                       "unix: paths)",
                       value, err);
    }
    draft.host = value;
    return true;
}

inline bool read_listen(const Setting & /*s*/, const std::string &value,
                        Draft &draft, Error &err)
{
    std::vector<ListenAddress> list;
    for (const std::string_view item : split_list(value, ',')) {
        ListenAddress address;
        if (!parse_listen_address(item, address, err)) {
            return false;
        }
        for (const ListenAddress &other : list) {
            if (other.text == address.text && !ends_with(item, ":0")) {
                err.message = quoted(item) + " is there twice";
                return false;
            }
        }
        list.push_back(address);
    }
    draft.config.listen = std::move(list);
    return true;
}

// A secret is not shown, whatever is wrong with it.
inline bool read_receipt_secret(const Setting & /*s*/, const std::string &value,
                                Draft &draft, Error &err)
{
    constexpr size_t least = 16;
    if (value.size() < least) {
        err.message = "must be at least 16 characters long";
        return false;
    }
    draft.config.receipt_secret = value;
    return true;
}

inline bool read_trusted_proxies(const Setting & /*s*/,
                                 const std::string &value, Draft &draft,
                                 Error &err)
{
    std::vector<AddressRange> ranges;
    for (const std::string_view item : split_list(value, ',')) {
        AddressRange range;
        if (!parse_range(item, range, err)) {
            return false;
        }
        ranges.push_back(range);
    }
    draft.config.trusted_proxies = std::move(ranges);
    return true;
}

// Tokens are read by load_tokens(), when all else is known.
inline bool read_later(const Setting & /*s*/, const std::string & /*value*/,
                       Draft & /*draft*/, Error & /*err*/)
{
    return true;
}

} // namespace llmproxy

#endif
