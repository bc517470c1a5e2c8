#ifndef LLM_PROXY_CONFIG_SETTINGS_H
#define LLM_PROXY_CONFIG_SETTINGS_H

#include "llm_proxy/base/digest.h"
#include "llm_proxy/base/error.h"
#include "llm_proxy/base/log.h"
#include "llm_proxy/config/backends.h"
#include "llm_proxy/config/ollama_options.h"
#include "llm_proxy/config/redis_url.h"
#include "llm_proxy/config/tokens.h"
#include "llm_proxy/json/value.h"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy
{

class RedisTrust; // limit/redis_limiter.h

// One thing wrong with the configuration. Printed "file:line: message" or
// "environment: NAME: message".
struct Problem {
    std::string where; // "file:line", "environment: NAME"
    std::string message;
};
std::string to_string(const Problem &problem);

// An address to listen on.
struct ListenAddress {
    std::string text;  // as written: host:port, [v6]:port, unix:/path
    std::string host;  // numeric or a name resolved at start; empty for unix
    uint16_t port = 0; // 0 = the kernel chooses (tests)
    std::string unix_path; // empty = TCP
};

// A range of addresses; IPv4 is held as ::ffff:a.b.c.d.
struct AddressRange {
    std::array<uint8_t, 16> base{};
    unsigned prefix = 128; // bits
};

// What ENDPOINTS may switch on: pass-through endpoints beyond OpenAI's core.
constexpr std::string_view kExtraEndpoints[] = {
    "responses",  "rerank",   "score",  "tokenize",
    "detokenize", "classify", "pooling"};

constexpr int64_t kForeverMs = INT64_MAX;

// Where the counters of the limits live, and who decides where that store
// cannot.
enum class LimitStore { Memory, Redis };
enum class StoreErrorPolicy { Local, Open, Deny };

// Which requests nginx is sent to a backend with: none, those whose model's
// name the backend knows as it stands, or those with a prefix, too.
enum class AccelRedirect { Off, Bare, All };

enum class ReasoningField { Reasoning, ReasoningContent, Both };

// Everything the daemon was told, checked and typed. Immutable once
// published: exchanges pin the snapshot they began with.
struct Config {
    std::vector<ListenAddress> listen;
    std::array<BackendConfig, kBackends> backends; // by BackendKind
    BackendKind default_backend = BackendKind::Ollama;
    bool models_prefix = true; // /v1/models shows every name with its prefix
    std::vector<AddressRange> trusted_proxies;
    AccelRedirect accel_redirect = AccelRedirect::Off;
    TokenTable tokens;
    std::string receipt_secret;       // empty = one of the process' own
    bool trust_plain_checked = false; // a bare 1 of a trusted proxy counts
    bool rate_limit_fields = false;   // the draft's RateLimit, too
    std::string state_file;           // empty = none
    int64_t state_interval_ms = 0;

    LimitStore limit_store = LimitStore::Memory;
    RedisUrl redis_url;        // of LimitStore::Redis
    std::string redis_ca_file; // empty = the system's certificates
    // What they are, for rediss://; connections hold on to it.
    std::shared_ptr<const RedisTrust> redis_trust;
    int64_t redis_timeout_ms = 0;
    StoreErrorPolicy limit_on_error = StoreErrorPolicy::Local;
    uint64_t limit_instances = 1; // daemons that share the store
    bool limit_lease = false;

    uint64_t max_body_bytes = 0;
    uint64_t max_buffered_bytes = 0; // over all connections
    uint64_t workers = 0;            // resolved: never 0
    uint64_t max_connections = 0;    // over all workers

    int64_t connect_timeout_ms = 0;
    int64_t first_byte_timeout_ms = 0;
    int64_t stream_idle_timeout_ms = 0;
    int64_t sse_keepalive_ms = 0; // 0 = off
    int64_t head_timeout_ms = 0;
    int64_t body_timeout_ms = 0;
    int64_t keepalive_timeout_ms = 0;
    int64_t write_timeout_ms = 0;
    int64_t queue_timeout_ms = 0;
    uint64_t queue_size = 0; // exchanges that may wait for one backend
    int64_t drain_delay_ms = 0;
    int64_t drain_timeout_ms = 0;
    int64_t upgrade_timeout_ms = 0;

    LogLevel log_level = LogLevel::Notice;
    LogFormat log_format = LogFormat::Text;
    std::string log_file;       // as LogTarget takes it, but empty = stderr
    std::string access_log;     // as LogTarget takes it
    std::string control_socket; // a path; empty = none

    // "scheme://host[:port]" as browsers write it, or "*"; none = no CORS.
    std::vector<std::string> cors_origins;
    std::vector<std::string> extra_endpoints; // names of kExtraEndpoints
    ReasoningField reasoning_field = ReasoningField::Reasoning;
    bool ollama_truncate = false;
    bool ollama_relax_think = true;
    bool ollama_allow_cloud = false;
    // Names of kOllamaOptions; empty = those that reload no model.
    std::vector<std::string> ollama_options_allow;
    // An object whose members have passed check_ollama_option(); or none.
    // Shared by all threads: read, or copied, never referred to.
    json::Ptr ollama_default_options;
    uint64_t ollama_num_ctx_max = 0;             // tokens; 0 = no bound
    std::optional<int64_t> ollama_keep_alive_ms; // or kForeverMs
    int64_t ollama_keep_alive_max_ms = 0;        // 0 = no bound

    // Effective NAME=value lines for -T, secrets masked, in table order.
    std::vector<std::string> dump;
    // In the same order the digests of those that are secret, so that a new
    // one is noticed; of TOKENS_JSON there is none.
    std::vector<Sha256> secrets;
    // Things that are allowed but should be said at start.
    std::vector<std::string> warnings;
};

// One row of the settings table: what man pages, .env.example, -T and the
// parser agree about.
struct SettingRow {
    const char *name;
    const char *default_value; // empty = none
    bool secret;               // masked in -T
    bool reloadable;           // false: takes a restart, said on reload
    const char *help;          // one line
};
const std::vector<SettingRow> &setting_rows();

using Environment = std::map<std::string, std::string>;

// Builds a Config from a file (path empty = none) and the environment, which
// overrides it; only names of the table are read from the environment, and an
// empty value is the same as none. Adds every problem found, returns false
// if there is one and leaves `out` alone then. `file_readable` is false only
// when the file itself could not be read.
[[nodiscard]] bool load_config(const std::string &path,
                               const Environment &environment, Config &out,
                               std::vector<Problem> &problems,
                               bool &file_readable);

// What one setting of the table is set to, by the environment or the file
// (path empty = none), however wrong the rest of that may be; empty = not at
// all. False: the file cannot be read.
[[nodiscard]] bool find_setting(const std::string &path,
                                const Environment &environment,
                                std::string_view name, std::string &out,
                                Error &err);

// "500ms", "2s", "5m", "1h", bare seconds; and "20m", "1g", bare bytes.
[[nodiscard]] bool parse_duration_ms(std::string_view text, int64_t &out);
[[nodiscard]] bool parse_size(std::string_view text, uint64_t &out);

} // namespace llmproxy

#endif
