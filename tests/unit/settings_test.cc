// config/settings: the table, the file's grammar, the environment over it,
// every named error, and that the manual and the samples agree with it.

#include "llm_proxy/config/settings.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <sys/stat.h>
#include <unistd.h>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

constexpr char kTokens[] = "[{\"token\":\"demo-key-123\",\"label\":\"demo\"}]";
constexpr char kTokensLine[] =
    "TOKENS_JSON=[{\"token\":\"demo-key-123\",\"label\":\"demo\"}]\n";

// A file of its own that is gone with the object.
class TempFile
{
public:
    explicit TempFile(const std::string &text, mode_t mode = 0600)
    {
        char name[] = "/tmp/settings_test_XXXXXX";
        const int fd = mkstemp(name);
        path_ = name;
        assert_true(fd != -1);
        assert_int_equal(write(fd, text.data(), text.size()), text.size());
        assert_int_equal(fchmod(fd, mode), 0);
        close(fd);
    }
    TempFile(const TempFile &) = delete;
    TempFile &operator=(const TempFile &) = delete;
    ~TempFile() { unlink(path_.c_str()); }
    const std::string &path() const { return path_; }

private:
    std::string path_;
};

struct Loaded {
    bool ok = false;
    bool readable = false;
    Config config;
    std::vector<std::string> problems;
};

Loaded load(const std::string &path, const Environment &environment)
{
    Loaded loaded;
    std::vector<Problem> problems;
    loaded.ok = load_config(path, environment, loaded.config, problems,
                            loaded.readable);
    assert_int_equal(loaded.ok, problems.empty());
    for (const Problem &problem : problems) {
        std::string line = to_string(problem);
        // The file's own name is not of interest.
        const size_t at = path.empty() ? std::string::npos : line.find(path);
        if (at != std::string::npos) {
            line.replace(at, path.size(), "FILE");
        }
        loaded.problems.push_back(line);
    }
    return loaded;
}

Loaded load_text(const std::string &text, const Environment &environment = {})
{
    const TempFile file(text);
    return load(file.path(), environment);
}

// With tokens and one more setting in the environment.
Loaded load_setting(const char *name, const std::string &value)
{
    return load("", {{"TOKENS_JSON", kTokens}, {name, value}});
}

void expect_ok(const Loaded &loaded)
{
    if (!loaded.ok) {
        fail_msg("%s", loaded.problems[0].c_str());
    }
}

void expect_problems(const Loaded &loaded,
                     const std::vector<std::string> &wanted)
{
    assert_false(loaded.ok);
    for (size_t i = 0; i < std::max(wanted.size(), loaded.problems.size());
         i++) {
        if (i >= wanted.size()) {
            fail_msg("one problem more: %s", loaded.problems[i].c_str());
        }
        if (i >= loaded.problems.size()) {
            fail_msg("missing: %s", wanted[i].c_str());
        }
        assert_string_equal(loaded.problems[i].c_str(), wanted[i].c_str());
    }
}

bool has_warning(const Config &config, const char *part)
{
    return std::any_of(config.warnings.begin(), config.warnings.end(),
                       [part](const std::string &warning) {
                           return warning.find(part) != std::string::npos;
                       });
}

std::string read_source(const char *name)
{
    const std::string path = std::string(TEST_DATA) + "/../../" + name;
    FILE *file = fopen(path.c_str(), "re");
    if (file == nullptr) {
        fail_msg("cannot open %s", path.c_str());
        return {};
    }
    std::string text;
    char buffer[4096];
    for (size_t n = 0; (n = fread(buffer, 1, sizeof buffer, file)) > 0;) {
        text.append(buffer, n);
    }
    fclose(file);
    return text;
}

std::vector<std::string> lines_of(const std::string &text)
{
    std::vector<std::string> lines;
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

std::vector<std::string> table_names()
{
    std::vector<std::string> names;
    for (const SettingRow &row : setting_rows()) {
        names.emplace_back(row.name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

void expect_names(const char *file, std::vector<std::string> names)
{
    const std::vector<std::string> wanted = table_names();
    std::sort(names.begin(), names.end());
    for (const std::string &name : wanted) {
        if (std::count(names.begin(), names.end(), name) != 1) {
            fail_msg("%s: %s is not there exactly once", file, name.c_str());
        }
    }
    for (const std::string &name : names) {
        if (std::count(wanted.begin(), wanted.end(), name) == 0) {
            fail_msg("%s: %s is no setting", file, name.c_str());
        }
    }
}

} // namespace

static void defaults_are_typed_and_valid(void **)
{
    const Loaded loaded = load("", {{"TOKENS_JSON", kTokens}});
    expect_ok(loaded);
    const Config &c = loaded.config;
    assert_int_equal(c.listen.size(), 1);
    assert_string_equal(c.listen[0].text.c_str(), "127.0.0.1:8080");
    assert_string_equal(c.listen[0].host.c_str(), "127.0.0.1");
    assert_int_equal(c.listen[0].port, 8080);
    assert_string_equal(c.backends[0].name, "ollama");
    assert_string_equal(c.backends[0].url.text.c_str(),
                        "http://127.0.0.1:11434");
    assert_string_equal(c.backends[1].name, "vllm");
    assert_int_equal(c.backends[1].kind, BackendKind::Vllm);
    assert_string_equal(c.backends[1].url.text.c_str(),
                        "http://127.0.0.1:8000");
    assert_int_equal(c.default_backend, BackendKind::Ollama);
    assert_int_equal(c.tokens.size(), 1);
    assert_int_equal(c.max_body_bytes, 20 << 20);
    assert_int_equal(c.max_buffered_bytes, 256 << 20);
    assert_in_range(c.workers, 1, 4);
    assert_int_equal(c.max_connections, 10000);
    assert_int_equal(c.backends[0].max_inflight, 0);
    assert_int_equal(c.queue_size, 1024);
    assert_int_equal(c.queue_timeout_ms, 30000);
    assert_int_equal(c.connect_timeout_ms, 2000);
    assert_int_equal(c.first_byte_timeout_ms, 600000);
    assert_int_equal(c.stream_idle_timeout_ms, 300000);
    assert_int_equal(c.sse_keepalive_ms, 15000);
    assert_int_equal(c.head_timeout_ms, 10000);
    assert_int_equal(c.body_timeout_ms, 30000);
    assert_int_equal(c.keepalive_timeout_ms, 75000);
    assert_int_equal(c.write_timeout_ms, 60000);
    assert_int_equal(c.drain_delay_ms, 0);
    assert_int_equal(c.drain_timeout_ms, 60000);
    assert_int_equal(c.log_level, LogLevel::Notice);
    assert_int_equal(c.log_format, LogFormat::Text);
    assert_true(c.extra_endpoints.empty());
    assert_int_equal(c.reasoning_field, ReasoningField::Reasoning);
    assert_false(c.ollama_truncate);
    assert_true(c.warnings.empty());
}

static void every_setting_reaches_its_member(void **)
{
    const TempFile ca("-----BEGIN CERTIFICATE-----\n");
    const Loaded loaded =
        load("", {{"TOKENS_JSON", kTokens},
                  {"LISTEN", "[::1]:81, unix:/run/x.sock,localhost:0"},
                  {"DEFAULT_BACKEND", "vllm"},
                  {"OLLAMA_BASE_URL", "https://gpu1:11435/v1/"},
                  {"VLLM_BASE_URL", "http://gpu2/base/v1"},
                  {"OLLAMA_API_KEY", "key-o"},
                  {"VLLM_API_KEY", "key-v"},
                  {"OLLAMA_CA_FILE", ca.path()},
                  {"RATE_LIMIT_STORE", "redis"},
                  {"REDIS_URL", "redis://llm:p%40ss@store:6380/2"},
                  {"REDIS_TIMEOUT", "20ms"},
                  {"RATE_LIMIT_ON_ERROR", "deny"},
                  {"RATE_LIMIT_INSTANCES", "4"},
                  {"RATE_LIMIT_LEASE", "1"},
                  {"MAX_BODY_BYTES", "1m"},
                  {"MAX_BUFFERED_BYTES", "2m"},
                  {"WORKERS", "3"},
                  {"MAX_CONNECTIONS", "7"},
                  {"BACKEND_MAX_INFLIGHT", "8"},
                  {"QUEUE_SIZE", "9"},
                  {"QUEUE_TIMEOUT", "10"},
                  {"CONNECT_TIMEOUT", "11ms"},
                  {"FIRST_BYTE_TIMEOUT", "12s"},
                  {"STREAM_IDLE_TIMEOUT", "13m"},
                  {"SSE_KEEPALIVE", "0"},
                  {"HEAD_TIMEOUT", "1h"},
                  {"BODY_TIMEOUT", "15"},
                  {"KEEPALIVE_TIMEOUT", "16"},
                  {"WRITE_TIMEOUT", "17"},
                  {"DRAIN_DELAY", "18"},
                  {"DRAIN_TIMEOUT", "19"},
                  {"LOG_LEVEL", "debug"},
                  {"LOG_FORMAT", "json"},
                  {"LOG_FILE", "/tmp/l"},
                  {"ACCESS_LOG", "-"},
                  {"REASONING_FIELD", "both"},
                  {"OLLAMA_TRUNCATE", "1"},
                  {"OLLAMA_RELAX_THINK", "0"},
                  {"OLLAMA_ALLOW_CLOUD", "1"},
                  {"MODELS_PREFIX", "0"},
                  {"OLLAMA_OPTIONS_ALLOW", "top_k,num_gpu,top_k"},
                  {"OLLAMA_DEFAULT_OPTIONS", R"({"num_ctx":8192})"},
                  {"OLLAMA_NUM_CTX_MAX", "32768"},
                  {"OLLAMA_KEEP_ALIVE", "-1"},
                  {"OLLAMA_KEEP_ALIVE_MAX", "2h"},
                  {"TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1,fd00::/8"},
                  {"CORS_ORIGINS", "https://a.example,HTTPS://B.example:443,"
                                   "http://[::1]:3000,http://c:443,*"},
                  {"ENDPOINTS", "score,responses"}});
    expect_ok(loaded);
    assert_true(
        loaded.config.cors_origins ==
        std::vector<std::string>({"https://a.example", "https://b.example",
                                  "http://[::1]:3000", "http://c:443", "*"}));
    const Config &c = loaded.config;
    assert_int_equal(c.listen.size(), 3);
    assert_false(c.ollama_relax_think);
    assert_true(c.ollama_allow_cloud);
    assert_false(c.models_prefix);
    assert_int_equal(c.ollama_options_allow.size(), 2);
    assert_string_equal(c.ollama_options_allow[1].c_str(), "num_gpu");
    assert_string_equal(json::dump(c.ollama_default_options.get()).c_str(),
                        R"({"num_ctx":8192})");
    assert_int_equal(c.ollama_num_ctx_max, 32768);
    assert_true(c.ollama_keep_alive_ms == kForeverMs);
    assert_int_equal(c.ollama_keep_alive_max_ms, 7200000);
    assert_string_equal(c.listen[0].host.c_str(), "::1");
    assert_int_equal(c.listen[0].port, 81);
    assert_string_equal(c.listen[1].unix_path.c_str(), "/run/x.sock");
    assert_int_equal(c.listen[2].port, 0);
    assert_int_equal(c.default_backend, BackendKind::Vllm);
    assert_string_equal(c.backends[0].url.text.c_str(), "https://gpu1:11435");
    assert_true(c.backends[0].url.tls);
    assert_string_equal(c.backends[1].url.text.c_str(), "http://gpu2/base");
    assert_string_equal(c.backends[0].api_key.c_str(), "key-o");
    assert_string_equal(c.backends[1].api_key.c_str(), "key-v");
    assert_string_equal(c.backends[0].ca_file.c_str(), ca.path().c_str());
    assert_int_equal(c.max_body_bytes, 1 << 20);
    assert_int_equal(c.max_buffered_bytes, 2 << 20);
    assert_int_equal(c.workers, 3);
    assert_int_equal(c.max_connections, 7);
    assert_int_equal(c.backends[0].max_inflight, 8);
    assert_int_equal(c.backends[1].max_inflight, 8);
    assert_int_equal(c.queue_size, 9);
    assert_int_equal(c.queue_timeout_ms, 10000);
    assert_int_equal(c.connect_timeout_ms, 11);
    assert_int_equal(c.first_byte_timeout_ms, 12000);
    assert_int_equal(c.stream_idle_timeout_ms, 13 * 60000);
    assert_int_equal(c.sse_keepalive_ms, 0);
    assert_int_equal(c.head_timeout_ms, 3600000);
    assert_int_equal(c.body_timeout_ms, 15000);
    assert_int_equal(c.keepalive_timeout_ms, 16000);
    assert_int_equal(c.write_timeout_ms, 17000);
    assert_int_equal(c.drain_delay_ms, 18000);
    assert_int_equal(c.drain_timeout_ms, 19000);
    assert_int_equal(c.log_level, LogLevel::Debug);
    assert_int_equal(c.log_format, LogFormat::Json);
    assert_string_equal(c.log_file.c_str(), "/tmp/l");
    assert_string_equal(c.access_log.c_str(), "-");
    assert_int_equal(c.reasoning_field, ReasoningField::Both);
    assert_true(c.ollama_truncate);
    assert_int_equal(c.trusted_proxies.size(), 3);
    assert_int_equal(c.trusted_proxies[0].prefix, 104);
    assert_int_equal(c.trusted_proxies[0].base[11], 0xff);
    assert_int_equal(c.trusted_proxies[0].base[12], 10);
    assert_int_equal(c.trusted_proxies[1].prefix, 128);
    assert_int_equal(c.trusted_proxies[2].prefix, 8);
    assert_int_equal(c.trusted_proxies[2].base[0], 0xfd);
    assert_int_equal(c.extra_endpoints.size(), 2);
    assert_int_equal(c.limit_store, LimitStore::Redis);
    assert_string_equal(c.redis_url.host.c_str(), "store");
    assert_string_equal(c.redis_url.password.c_str(), "p@ss");
    assert_int_equal(c.redis_url.db, 2);
    assert_int_equal(c.redis_timeout_ms, 20);
    assert_int_equal(c.limit_on_error, StoreErrorPolicy::Deny);
    assert_int_equal(c.limit_instances, 4);
    assert_true(c.limit_lease);
}

static void host_and_port_make_one_address(void **)
{
    static const struct {
        const char *host;
        const char *text;
        const char *bare;
    } table[] = {
        {"::1", "[::1]:8080", "::1"},
        {"[::1]", "[::1]:8080", "::1"},
        {"localhost", "localhost:8080", "localhost"},
    };
    for (const auto &row : table) {
        const Loaded loaded = load_setting("HOST", row.host);
        expect_ok(loaded);
        assert_int_equal(loaded.config.listen.size(), 1);
        assert_string_equal(loaded.config.listen[0].text.c_str(), row.text);
        assert_string_equal(loaded.config.listen[0].host.c_str(), row.bare);
    }
}

static void all_switches_every_endpoint_on(void **)
{
    const Loaded loaded = load_setting("ENDPOINTS", "all");
    expect_ok(loaded);
    assert_int_equal(loaded.config.extra_endpoints.size(),
                     std::size(kExtraEndpoints));
}

static void base_urls_lose_what_clients_add(void **)
{
    static const struct {
        const char *name;
        const char *value;
        const char *text;
    } table[] = {
        {"OLLAMA_BASE_URL", "http://h:1/api", "http://h:1"},
        {"OLLAMA_BASE_URL", "http://h:1/v1", "http://h:1"},
        {"OLLAMA_BASE_URL", "http://h:1/x/api/", "http://h:1/x"},
        {"VLLM_BASE_URL", "http://h:1/v1/", "http://h:1"},
        {"VLLM_BASE_URL", "http://h:1/api", "http://h:1/api"},
    };
    for (const auto &row : table) {
        const Loaded loaded = load_setting(row.name, row.value);
        expect_ok(loaded);
        const size_t index = row.name[0] == 'O' ? 0 : 1;
        assert_string_equal(loaded.config.backends[index].url.text.c_str(),
                            row.text);
    }
}

static void wrong_values_are_named_with_a_remedy(void **)
{
    static const struct {
        const char *name;
        const char *value;
        const char *problem;
    } table[] = {
        {"PORT", "70000", "must be a number from 0 to 65535, not \"70000\""},
        {"PORT", "-1", "must be a number from 0 to 65535, not \"-1\""},
        {"PORT", "\"80\"",
         "must be a number from 0 to 65535, not "
         "\"\\x2280\\x22\" (quotes are part of a value)"},
        {"PORT", "80 ", "must be a number from 0 to 65535, not \"80 \""},
        {"WORKERS", "0", "must be a number from 1 to 64, not \"0\""},
        {"WORKERS", "auto", "must be a number from 1 to 64, not \"auto\""},
        {"WORKERS", "99999999999999999999",
         "must be a number from 1 to 64, not \"99999999999999999999\""},
        {"CONNECT_TIMEOUT", "0",
         "must be a duration from 1ms to 24h (500ms, 30s, 5m, 1h; a bare "
         "number is seconds), not \"0\""},
        {"CONNECT_TIMEOUT", "-2s",
         "must be a duration from 1ms to 24h (500ms, 30s, 5m, 1h; a bare "
         "number is seconds), not \"-2s\""},
        {"SSE_KEEPALIVE", "25h",
         "must be a duration from 0 to 24h (500ms, 30s, 5m, 1h; a bare number "
         "is seconds), not \"25h\""},
        {"MAX_BODY_BYTES", "0",
         "must be a size from 1 to 1g (64k, 20m, 1g; a bare number is bytes), "
         "not \"0\""},
        {"LOG_LEVEL", "loud",
         "must be error, warning, notice, info or debug, not \"loud\""},
        {"LOG_FORMAT", "xml", "must be text or json, not \"xml\""},
        {"OLLAMA_TRUNCATE", "yes", "must be 0 or 1, not \"yes\""},
        {"OLLAMA_OPTIONS_ALLOW", "num_ctxx",
         "unknown option \"num_ctxx\"; did you mean \"num_ctx\"?"},
        {"OLLAMA_DEFAULT_OPTIONS", "{\"num_ctxx\":1}",
         "unknown option \"num_ctxx\"; did you mean \"num_ctx\"?"},
        {"OLLAMA_DEFAULT_OPTIONS", "[]",
         "must be a JSON object such as {\"num_ctx\":8192}"},
        {"OLLAMA_DEFAULT_OPTIONS", R"({"num_ctx":"8192"})",
         "the option \"num_ctx\" must be an integer"},
        {"OLLAMA_DEFAULT_OPTIONS", R"({"num_ctx":0})",
         "the option \"num_ctx\" must be at least 1"},
        {"OLLAMA_DEFAULT_OPTIONS", R"({"num_ctx":0.5})",
         "the option \"num_ctx\" must be an integer"},
        {"OLLAMA_DEFAULT_OPTIONS", R"({"stop":"x"})",
         "the option \"stop\" must be an array of strings that are not "
         "empty"},
        {"OLLAMA_DEFAULT_OPTIONS", R"({"stop":["x",""]})",
         "the option \"stop\" must be an array of strings that are not "
         "empty"},
        {"OLLAMA_DEFAULT_OPTIONS", R"({"stop":[5]})",
         "the option \"stop\" must be an array of strings that are not "
         "empty"},
        {"OLLAMA_DEFAULT_OPTIONS", R"({"temperature":true})",
         "the option \"temperature\" must be a number"},
        {"OLLAMA_DEFAULT_OPTIONS", R"({"temperature":null})",
         "the option \"temperature\" must be a number"},
        {"OLLAMA_DEFAULT_OPTIONS", R"({"top_k":1.5})",
         "the option \"top_k\" must be an integer"},
        {"OLLAMA_DEFAULT_OPTIONS", R"({"use_mmap":1})",
         "the option \"use_mmap\" must be a boolean"},
        {"OLLAMA_KEEP_ALIVE", "-2",
         "must be a duration (30s, 5m, 1h; 0 unloads at once) or -1, for "
         "ever, not \"-2\""},
        {"DEFAULT_BACKEND", "Ollama", "must be ollama or vllm, not \"Ollama\""},
        {"RATE_LIMIT_STORE", "redis",
         "redis needs REDIS_URL, as in REDIS_URL=redis://127.0.0.1:6379/0"},
        {"RATE_LIMIT_STORE", "disk", "must be memory or redis, not \"disk\""},
        {"REDIS_URL", "redis://:pw@",
         "the URL needs a host and, after a "
         "colon, a port from 1 to 65535 (an IPv6 address in brackets); in a "
         "password / is written %2F"},
        {"RATE_LIMIT_ON_ERROR", "closed",
         "must be local, open or deny, not \"closed\""},
        {"RATE_LIMIT_INSTANCES", "0",
         "must be a number from 1 to 10000, not \"0\""},
        {"OLLAMA_BASE_URL", "http://a:1,http://b:1",
         "a list of URLs is not supported yet; give one"},
        {"VLLM_API_KEY", "a b", "must be printable ASCII without blanks"},
        {"ENDPOINTS", "rerank,tokenise",
         "unknown endpoint \"tokenise\"; did you mean \"tokenize\"?"},
        {"ENDPOINTS", "x", "unknown endpoint \"x\"; see llm-proxy.conf(5)"},
        {"HOST", "unix:/x",
         "must be a host name or an address (LISTEN takes "
         "ports and unix: paths), not \"unix:/x\""},
        {"HOST", "a:80",
         "must be a host name or an address (LISTEN takes "
         "ports and unix: paths), not \"a:80\""},
        {"LISTEN", "127.0.0.1",
         "\"127.0.0.1\" needs a port from 0 to 65535 at its end: "
         "127.0.0.1:8080"},
        {"LISTEN", "h:65536",
         "\"h:65536\" needs a port from 0 to 65535 at its end: "
         "127.0.0.1:8080"},
        {"LISTEN", ":80",
         "\":80\" must be host:port, [IPv6]:port or unix:/path; all addresses "
         "are 0.0.0.0:port and [::]:port"},
        {"LISTEN", "::1:80",
         "\"::1:80\" must be host:port, [IPv6]:port or unix:/path; all "
         "addresses are 0.0.0.0:port and [::]:port"},
        {"LISTEN", "[::g]:80", "\"[::g]:80\" holds no IPv6 address in []"},
        {"LISTEN", "unix:x",
         "a unix socket needs an absolute path of at most 107 bytes: "
         "unix:/run/llm-proxy/http.sock"},
        {"LISTEN", "h:80,h:80", "\"h:80\" is there twice"},
        {"CORS_ORIGINS", "https://a.example/",
         "must be a list of origins, scheme://host[:port] and nothing behind "
         "it, or *, not \"https://a.example/\""},
        {"CORS_ORIGINS", "a.example",
         "must be a list of origins, scheme://host[:port] and nothing behind "
         "it, or *, not \"a.example\""},
        {"CORS_ORIGINS", "https://*.example",
         "must be a list of origins, scheme://host[:port] and nothing behind "
         "it, or *, not \"https://*.example\""},
        {"CORS_ORIGINS", "null",
         "must be a list of origins, scheme://host[:port] and nothing behind "
         "it, or *, not \"null\""},
        {"TRUSTED_PROXIES", "10.0.0.0/33",
         "\"10.0.0.0/33\" needs a prefix length from 0 to 32 after the "
         "slash"},
        {"TRUSTED_PROXIES", "10.0.0.1/8",
         "\"10.0.0.1/8\" has bits set after its prefix; write the range's "
         "first address"},
        {"TRUSTED_PROXIES", "proxy.lan",
         "\"proxy.lan\" is no address or range of them: 10.0.0.0/8, fd00::/8, "
         "192.0.2.1"},
        {"TRUSTED_PROXIES", "fd00::/129",
         "\"fd00::/129\" needs a prefix length from 0 to 128 after the "
         "slash"},
        {"VLLM_CA_FILE", "/nowhere/ca.pem",
         "cannot read \"/nowhere/ca.pem\": No such file or directory"},
        {"VLLM_CA_FILE", "/", "cannot read \"/\": Is a directory"},
        {"VLLM_CA_FILE", "/dev/null",
         "cannot read \"/dev/null\": not a regular file"},
        {"VLLM_CA_FILE", "/etc/passwd",
         "\"/etc/passwd\" holds no certificate in PEM format"},
        {"LOG_FILE", "a\nb", "the value holds a control character"},
        {"MAX_BUFFERED_BYTES", "1m",
         "MAX_BUFFERED_BYTES must be at least MAX_BODY_BYTES, or the largest "
         "body would never fit"},
    };
    for (const auto &row : table) {
        expect_problems(
            load_setting(row.name, row.value),
            {"environment: " + std::string(row.name) + ": " + row.problem});
    }
    const Loaded url = load_setting("OLLAMA_BASE_URL", "ftp://u:s3cret@h");
    assert_int_equal(url.problems.size(), 1);
    assert_null(strstr(url.problems[0].c_str(), "s3cret"));
}

static void default_options_of_every_type_are_taken(void **)
{
    const Loaded loaded = load_setting(
        "OLLAMA_DEFAULT_OPTIONS",
        R"({"num_ctx":1e6,"temperature":0,"top_p":0.5,"stop":["x","y"],)"
        R"("use_mmap":false,"seed":-1})");
    expect_ok(loaded);
    const json_t *options = loaded.config.ollama_default_options.get();
    assert_string_equal(json::dump(options).c_str(),
                        R"({"num_ctx":1000000.0,"temperature":0,"top_p":0.5,)"
                        R"("stop":["x","y"],"use_mmap":false,"seed":-1})");
}

static void a_file_is_lines_of_name_and_value(void **)
{
    const Loaded loaded = load_text("\xef\xbb\xbf# a comment\n"
                                    "\n"
                                    "  # another, and a blank line of blanks\n"
                                    "   \t\n"
                                    "PORT=9000\r\n"
                                    "ACCESS_LOG=/tmp/a b # c='d'\n"
                                    "LOG_FILE=\n" +
                                    std::string(kTokensLine) + "WORKERS=2");
    expect_ok(loaded);
    assert_int_equal(loaded.config.listen[0].port, 9000);
    assert_string_equal(loaded.config.access_log.c_str(), "/tmp/a b # c='d'");
    assert_string_equal(loaded.config.log_file.c_str(), "");
    assert_int_equal(loaded.config.workers, 2);
}

static void a_file_reports_every_problem_with_its_line(void **)
{
    const Loaded loaded = load_text("PORT=x\n"
                                    "PROT=1\n"
                                    "port=80\n"
                                    "nonsense\n"
                                    "PORT=81\n"
                                    "export HOST=::1\n"
                                    "HOST =::1\n"
                                    " HOST=::1\n"
                                    "COMPLETELY_ELSE=1\n"
                                    "=1\n"
                                    "LOG_LEVEL=x\x01\n");
    expect_problems(
        loaded,
        {"FILE:2: unknown setting \"PROT\"; did you mean PORT?",
         "FILE:3: unknown setting \"port\"; did you mean PORT?",
         "FILE:4: expected NAME=value",
         "FILE:5: PORT is set twice, first on line 1",
         "FILE:6: this is no shell script; leave \"export\" out",
         "FILE:7: no blanks may stand before or after the name",
         "FILE:8: no blanks may stand before or after the name",
         "FILE:9: unknown setting \"COMPLETELY_ELSE\"",
         "FILE:10: a name holds only letters, digits and _; a value ends "
         "with its line",
         "FILE:1: PORT: must be a number from 0 to 65535, not \"x\"",
         "FILE:11: LOG_LEVEL: the value holds a control character",
         "FILE: no tokens: set TOKENS_FILE to a file, or TOKENS_JSON to a "
         "list such as [{\"token\":\"...\",\"label\":\"alice\",\"rpm\":60}]"});
}

static void a_near_name_is_suggested(void **)
{
    expect_problems(
        load_text(std::string(kTokensLine) + "OLLAMA_BASE_ULR=x\n"),
        {"FILE:2: unknown setting \"OLLAMA_BASE_ULR\"; did you mean "
         "OLLAMA_BASE_URL?"});
}

static void a_list_of_tokens_in_several_lines_is_not_printed(void **)
{
    const Loaded loaded = load_text("TOKENS_JSON=[\n"
                                    "{\"token\":\"s3cret==\","
                                    "\"label\":\"a\"},\n"
                                    "{\"token\":\"s3cret-b\"}]\n");
    assert_int_equal(loaded.problems.size(), 3);
    for (const std::string &problem : loaded.problems) {
        assert_null(strstr(problem.c_str(), "s3cret"));
    }
}

static void the_environment_wins_over_the_file(void **)
{
    const std::string text = std::string(kTokensLine) + "PORT=9000\nHOST=::1\n";
    const Loaded loaded = load_text(text, {{"PORT", "9001"},
                                           {"HOST", ""},
                                           {"PATH", "/bin"},
                                           {"NO_SUCH_SETTING", "1"}});
    expect_ok(loaded);
    assert_string_equal(loaded.config.listen[0].text.c_str(), "[::1]:9001");
    expect_problems(
        load_text(text, {{"PORT", "x"}}),
        {"environment: PORT: must be a number from 0 to 65535, not \"x\""});
}

static void an_unreadable_file_is_told_apart(void **)
{
    for (const char *path : {"/nowhere/llm-proxy.conf", "/"}) {
        const Loaded loaded = load(path, {});
        assert_false(loaded.ok);
        assert_false(loaded.readable);
        assert_int_equal(loaded.problems.size(), 1);
        assert_non_null(strstr(loaded.problems[0].c_str(), "cannot be read"));
    }
    assert_true(load_text("PORT=x\n").readable);
}

static void a_failed_load_leaves_the_result_alone(void **)
{
    Config config;
    std::vector<Problem> problems;
    bool readable = false;
    assert_true(load_config("", {{"TOKENS_JSON", kTokens}, {"PORT", "1"}},
                            config, problems, readable));
    assert_false(load_config("", {{"PORT", "2"}}, config, problems, readable));
    assert_int_equal(config.listen[0].port, 1);
    assert_int_equal(config.tokens.size(), 1);
}

static void tokens_come_from_exactly_one_place(void **)
{
    const TempFile file(kTokens);
    const Loaded by_file = load("", {{"TOKENS_FILE", file.path()}});
    expect_ok(by_file);
    assert_non_null(by_file.config.tokens.find("demo-key-123"));

    expect_problems(
        load("", {{"TOKENS_FILE", "/x"}, {"TOKENS_JSON", kTokens}}),
        {"environment: TOKENS_FILE: TOKENS_JSON is set as well (environment: "
         "TOKENS_JSON); keep one of the two"});
    const Loaded none = load("", {});
    assert_int_equal(none.problems.size(), 1);
    assert_int_equal(
        none.problems[0].find("environment: TOKENS_FILE: no tokens: set"), 0);
    expect_problems(load("", {{"TOKENS_FILE", "/nowhere/t.json"}}),
                    {"environment: TOKENS_FILE: cannot read "
                     "\"/nowhere/t.json\": No such file or directory"});
}

static void problems_of_tokens_name_their_place(void **)
{
    const TempFile file("[\n{\"token\":\"demo-key-123\",\"label\":\"bob\",\n"
                        "\"rpm\":0}]");
    Loaded loaded = load("", {{"TOKENS_FILE", file.path()}});
    expect_problems(loaded,
                    {file.path() + ":2: token 1 (\"bob\"): rpm must be at "
                                   "least 1 (leave it out for no limit)"});
    expect_problems(
        load_text("PORT=1\nTOKENS_JSON=[{\"label\":\"bob\"}]\n"),
        {"FILE:2: TOKENS_JSON: token 1 (\"bob\"): exactly one of \"token\" "
         "and \"token_sha256\" is needed"});
    expect_problems(load("", {{"TOKENS_JSON", "[]"}}),
                    {"environment: TOKENS_JSON: the list holds no token"});
}

static void secrets_in_public_files_get_a_warning(void **)
{
    const TempFile tokens(kTokens, 0644);
    const Loaded by_file = load("", {{"TOKENS_FILE", tokens.path()}});
    expect_ok(by_file);
    assert_true(has_warning(by_file.config, "everyone may read these tokens"));

    const TempFile inlined(kTokensLine, 0644);
    assert_true(has_warning(load(inlined.path(), {}).config,
                            "everyone may read the secrets"));
    const TempFile key("VLLM_API_KEY=k\n", 0604);
    assert_true(has_warning(load(key.path(), {{"TOKENS_JSON", kTokens}}).config,
                            "everyone may read the secrets"));
    const TempFile harmless("PORT=1\n", 0644);
    assert_true(load(harmless.path(), {{"TOKENS_JSON", kTokens}})
                    .config.warnings.empty());
    const TempFile closed(kTokensLine, 0640);
    assert_true(load(closed.path(), {}).config.warnings.empty());
}

static void listening_beyond_loopback_gets_a_warning(void **)
{
    for (const char *address : {"0.0.0.0:80", "[::]:80", "gpu.lan:80",
                                "127.evil.example:80", "10.1.2.3:80"}) {
        const Loaded loaded = load_setting("LISTEN", address);
        expect_ok(loaded);
        assert_true(has_warning(loaded.config, "without TRUSTED_PROXIES"));
    }
    for (const char *address : {"127.0.0.1:80", "127.9.9.9:80", "[::1]:80",
                                "localhost:80", "unix:/run/x"}) {
        assert_true(load_setting("LISTEN", address).config.warnings.empty());
    }
    const Loaded trusted = load("", {{"TOKENS_JSON", kTokens},
                                     {"HOST", "0.0.0.0"},
                                     {"TRUSTED_PROXIES", "10.0.0.0/8"}});
    assert_true(trusted.config.warnings.empty());
}

static void other_warnings_are_given(void **)
{
    const TempFile ca("-----BEGIN CERTIFICATE-----\n");
    assert_true(has_warning(load_setting("VLLM_CA_FILE", ca.path()).config,
                            "backend vllm: its CA file is not used"));
}

static void the_dump_masks_secrets_and_can_be_read_again(void **)
{
    const Loaded loaded = load(
        "",
        {{"TOKENS_JSON", kTokens}, {"VLLM_API_KEY", "s3cret"}, {"PORT", "81"}});
    expect_ok(loaded);
    const std::vector<std::string> &dump = loaded.config.dump;
    assert_int_equal(dump.size(), setting_rows().size());
    std::string text;
    for (size_t i = 0; i < dump.size(); i++) {
        assert_int_equal(
            dump[i].find(std::string(setting_rows()[i].name) + "="), 0);
        assert_null(strstr(dump[i].c_str(), "s3cret"));
        assert_null(strstr(dump[i].c_str(), "demo-key"));
        if (!setting_rows()[i].secret) {
            text += dump[i] + "\n";
        }
    }
    const auto has = [&dump](const char *line) {
        return std::count(dump.begin(), dump.end(), line) == 1;
    };
    assert_true(has("PORT=81"));
    assert_true(has("HOST=127.0.0.1"));
    assert_true(has("LISTEN="));
    assert_true(has("VLLM_API_KEY=***"));
    assert_true(has("OLLAMA_API_KEY="));
    assert_true(has("TOKENS_JSON=*** (1 token)"));
    assert_true(
        has(("WORKERS=" + std::to_string(loaded.config.workers)).c_str()));

    const Loaded again =
        load_text(text, {{"TOKENS_JSON", kTokens}, {"VLLM_API_KEY", "s3cret"}});
    expect_ok(again);
    assert_true(again.config.dump == dump);
}

static void durations_and_sizes_take_units(void **)
{
    static const struct {
        const char *text;
        int64_t ms;
    } durations[] = {
        {"0", 0},       {"500ms", 500},  {"2s", 2000},   {"2", 2000},
        {"5m", 300000}, {"1h", 3600000}, {"5M", 300000},
    };
    for (const auto &row : durations) {
        int64_t ms = -1;
        assert_true(parse_duration_ms(row.text, ms));
        assert_int_equal(ms, row.ms);
    }
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {
        {"0", 0},        {"7", 7},
        {"64k", 65536},  {"20m", 20 << 20},
        {"1G", 1 << 30}, {"18446744073709551615", UINT64_MAX},
    };
    for (const auto &row : sizes) {
        uint64_t bytes = 1;
        assert_true(parse_size(row.text, bytes));
        assert_int_equal(bytes, row.bytes);
    }
    for (const char *text : {"", "s", "-1s", "+1", "1.5s", "1 s", " 1", "1d",
                             "1mss", "ms", "0x1", "9223372036854775807h",
                             "9223372036854775808ms", "99999999999999999999"}) {
        int64_t ms = 5;
        assert_false(parse_duration_ms(text, ms));
        assert_int_equal(ms, 5);
    }
    for (const char *text : {"", "k", "-1", "1.5m", "1 k", "1kb", "1t",
                             "18446744073709551615k", "17179869184g"}) {
        uint64_t bytes = 5;
        assert_false(parse_size(text, bytes));
        assert_int_equal(bytes, 5);
    }
}

static void the_samples_name_the_settings_with_their_defaults(void **)
{
    for (const char *file : {".env.example", "contrib/llm-proxy.conf"}) {
        std::vector<std::string> names;
        for (std::string line : lines_of(read_source(file))) {
            if (line[0] == '#') {
                line.erase(0, 1);
            }
            const size_t equals = line.find('=');
            const std::string name = line.substr(0, equals);
            if (equals == std::string::npos ||
                name.find_first_not_of(
                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") !=
                    std::string::npos) {
                continue;
            }
            names.push_back(name);
            for (const SettingRow &row : setting_rows()) {
                if (name == row.name && row.default_value[0] != '\0') {
                    assert_string_equal(line.substr(equals + 1).c_str(),
                                        row.default_value);
                }
            }
        }
        expect_names(file, names);
    }
}

static void the_sample_environment_works_as_it_stands(void **)
{
    const Loaded loaded = load_text(read_source(".env.example"));
    expect_ok(loaded);
    const Principal *demo = loaded.config.tokens.find("demo-key-123");
    assert_non_null(demo);
    assert_string_equal(demo->label.c_str(), "demo");
    assert_int_equal(demo->rpm, 60);
    assert_int_equal(demo->rpd, 1000);
}

static void the_manual_describes_the_settings_with_their_defaults(void **)
{
    const char *file = "man/llm-proxy.conf.5";
    std::vector<std::string> names;
    for (const std::string &line : lines_of(read_source(file))) {
        // .It Cm NAME Ar KIND Pq DEFAULT
        const std::string item = ".It Cm ";
        if (line.rfind(item, 0) != 0) {
            continue;
        }
        const std::string name =
            line.substr(item.size(), line.find(' ', item.size()) - item.size());
        const size_t shown_at = line.find(" Pq ");
        assert_true(shown_at != std::string::npos);
        const std::string shown = line.substr(shown_at + 4);
        names.push_back(name);
        for (const SettingRow &row : setting_rows()) {
            if (name == row.name &&
                shown != (row.default_value[0] == '\0' ? "none"
                                                       : row.default_value)) {
                fail_msg("%s: default \"%s\"", name.c_str(), shown.c_str());
            }
        }
    }
    expect_names(file, names);
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_typed_and_valid),
        cmocka_unit_test(every_setting_reaches_its_member),
        cmocka_unit_test(host_and_port_make_one_address),
        cmocka_unit_test(all_switches_every_endpoint_on),
        cmocka_unit_test(base_urls_lose_what_clients_add),
        cmocka_unit_test(wrong_values_are_named_with_a_remedy),
        cmocka_unit_test(default_options_of_every_type_are_taken),
        cmocka_unit_test(a_file_is_lines_of_name_and_value),
        cmocka_unit_test(a_file_reports_every_problem_with_its_line),
        cmocka_unit_test(a_near_name_is_suggested),
        cmocka_unit_test(a_list_of_tokens_in_several_lines_is_not_printed),
        cmocka_unit_test(the_environment_wins_over_the_file),
        cmocka_unit_test(an_unreadable_file_is_told_apart),
        cmocka_unit_test(a_failed_load_leaves_the_result_alone),
        cmocka_unit_test(tokens_come_from_exactly_one_place),
        cmocka_unit_test(problems_of_tokens_name_their_place),
        cmocka_unit_test(secrets_in_public_files_get_a_warning),
        cmocka_unit_test(listening_beyond_loopback_gets_a_warning),
        cmocka_unit_test(other_warnings_are_given),
        cmocka_unit_test(the_dump_masks_secrets_and_can_be_read_again),
        cmocka_unit_test(durations_and_sizes_take_units),
        cmocka_unit_test(the_samples_name_the_settings_with_their_defaults),
        cmocka_unit_test(the_sample_environment_works_as_it_stands),
        cmocka_unit_test(the_manual_describes_the_settings_with_their_defaults),
    };
    return cmocka_run_group_tests_name("settings", tests, nullptr, nullptr);
}
