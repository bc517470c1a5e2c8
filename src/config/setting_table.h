#ifndef LLM_PROXY_SRC_CONFIG_SETTING_TABLE_H
#define LLM_PROXY_SRC_CONFIG_SETTING_TABLE_H

#include <string_view>
#include <vector>

#include "setting_readers.h"

// The table of settings. A new setting is one row here, one paragraph in
// llm-proxy.conf(5) and one line in each sample file.
namespace llmproxy
{

inline Setting with_reader(const SettingRow &row, Reader read)
{
    Setting s;
    s.row = row;
    s.read = read;
    return s;
}

inline Setting duration(const SettingRow &row, int64_t Config::*field,
                        const char *low = "1ms")
{
    Setting s = with_reader(row, read_duration);
    s.duration = field;
    s.low = low;
    s.high = "24h";
    return s;
}

inline Setting size(const SettingRow &row, uint64_t Config::*field,
                    const char *low, const char *high)
{
    Setting s = with_reader(row, read_size);
    s.count = field;
    s.low = low;
    s.high = high;
    return s;
}

inline Setting count(const SettingRow &row, Reader read,
                     uint64_t Config::*field, const char *low, const char *high)
{
    Setting s = with_reader(row, read);
    s.count = field;
    s.low = low;
    s.high = high;
    return s;
}

inline Setting choice(const SettingRow &row, const char *words,
                      void (*choose)(Config &, size_t))
{
    Setting s = with_reader(row, read_choice);
    s.words = words;
    s.choose = choose;
    return s;
}

inline Setting text(const SettingRow &row, std::string Config::*field)
{
    Setting s = with_reader(row, read_text);
    s.text = field;
    return s;
}

inline Setting of_backend(const SettingRow &row, Reader read,
                          BackendKind backend)
{
    Setting s = with_reader(row, read);
    s.backend = backend;
    return s;
}

constexpr bool kPlain = false;
constexpr bool kSecret = true;
constexpr bool kRestart = false;
constexpr bool kReload = true;

// What says where to listen, whom to serve and under which names.
inline std::vector<Setting> front_rows()
{
    return {
        with_reader({"LISTEN", "", kPlain, kReload,
                     "addresses to listen on, instead of HOST and PORT"},
                    read_listen),
        with_reader(
            {"HOST", "127.0.0.1", kPlain, kReload, "address to listen on"},
            read_host),
        count({"PORT", "8080", kPlain, kReload, "port to listen on"}, read_port,
              nullptr, "0", "65535"),
        with_reader({"TOKENS_FILE", "", kPlain, kReload,
                     "file with the JSON list of tokens"},
                    read_later),
        with_reader({"TOKENS_JSON", "", kSecret, kReload,
                     "the JSON list of tokens itself"},
                    read_later),
        with_reader({"TRUSTED_PROXIES", "", kPlain, kReload,
                     "addresses of the web servers in front"},
                    read_trusted_proxies),
        choice({"ACCEL_REDIRECT", "off", kPlain, kReload,
                "requests for vLLM that nginx is told to send there itself"},
               "off|bare|all",
               [](Config &c, size_t i) {
                   c.accel_redirect = static_cast<AccelRedirect>(i);
               }),
        with_reader({"CORS_ORIGINS", "", kPlain, kReload,
                     "origins whose pages may ask from a browser, or *"},
                    read_cors_origins),
        with_reader({"ENDPOINTS", "", kPlain, kReload,
                     "further endpoints to pass through, or all"},
                    read_endpoints),
        choice({"DEFAULT_BACKEND", "ollama", kPlain, kReload,
                "backend of a model name without a prefix"},
               "ollama|vllm",
               [](Config &c, size_t i) {
                   c.default_backend = static_cast<BackendKind>(i);
               }),
        choice({"MODELS_PREFIX", "1", kPlain, kReload,
                "0: lists name its models without a prefix"},
               "0|1", [](Config &c, size_t i) { c.models_prefix = i == 1; }),
    };
}

// What says where limits are counted.
inline std::vector<Setting> limit_rows()
{
    return {
        choice({"RATE_LIMIT_STORE", "memory", kPlain, kRestart,
                "where the counters of the limits live"},
               "memory|redis",
               [](Config &c, size_t i) {
                   c.limit_store = static_cast<LimitStore>(i);
               }),
        with_reader({"REDIS_URL", "", kSecret, kReload,
                     "the Redis server that daemons share"},
                    read_redis_url),
        with_reader({"REDIS_CA_FILE", "", kPlain, kReload,
                     "certificates to check a rediss:// server against"},
                    read_redis_ca_file),
        duration({"REDIS_TIMEOUT", "50ms", kPlain, kReload,
                  "longest wait for Redis to decide"},
                 &Config::redis_timeout_ms),
        choice({"RATE_LIMIT_ON_ERROR", "local", kPlain, kReload,
                "who decides where Redis does not"},
               "local|open|deny",
               [](Config &c, size_t i) {
                   c.limit_on_error = static_cast<StoreErrorPolicy>(i);
               }),
        count({"RATE_LIMIT_INSTANCES", "1", kPlain, kReload,
               "daemons that share the Redis server"},
              read_count, &Config::limit_instances, "1", "10000"),
        choice({"RATE_LIMIT_LEASE", "0", kPlain, kReload,
                "1: take units of busy tokens ahead, several at a time"},
               "0|1", [](Config &c, size_t i) { c.limit_lease = i == 1; }),
        text({"STATE_FILE", "", kPlain, kReload,
              "file that keeps the day's counters over a restart"},
             &Config::state_file),
        duration({"STATE_INTERVAL", "60s", kPlain, kReload,
                  "how often the state file is written"},
                 &Config::state_interval_ms, "100ms"),
        with_reader({"RATE_LIMIT_SHARED_SECRET", "", kSecret, kReload,
                     "what several daemons sign their receipts with"},
                    read_receipt_secret),
        choice({"RATE_LIMIT_FIELDS", "0", kPlain, kReload,
                "1: the RateLimit fields of the IETF's draft, too"},
               "0|1",
               [](Config &c, size_t i) { c.rate_limit_fields = i == 1; }),
        choice({"TRUST_CHECKED_HEADER", "signed", kPlain, kReload,
                "plain: a bare 1 from a trusted proxy counts as charged"},
               "signed|plain",
               [](Config &c, size_t i) { c.trust_plain_checked = i == 1; }),
    };
}

// What says how to speak to Ollama.
inline std::vector<Setting> ollama_rows()
{
    return {
        of_backend({"OLLAMA_BASE_URL", "http://127.0.0.1:11434", kPlain,
                    kReload, "where Ollama answers"},
                   read_base_url, BackendKind::Ollama),
        of_backend({"OLLAMA_API_KEY", "", kSecret, kReload,
                    "key that Ollama (or a server before it) asks for"},
                   read_api_key, BackendKind::Ollama),
        of_backend({"OLLAMA_CA_FILE", "", kPlain, kReload,
                    "certificates to check an https Ollama against"},
                   read_ca_file, BackendKind::Ollama),
        choice({"OLLAMA_TRUNCATE", "0", kPlain, kReload,
                "1: Ollama shortens prompts that are too long"},
               "0|1", [](Config &c, size_t i) { c.ollama_truncate = i == 1; }),
        choice({"OLLAMA_RELAX_THINK", "1", kPlain, kReload,
                "1: ask models that cannot reason again without it"},
               "0|1",
               [](Config &c, size_t i) { c.ollama_relax_think = i == 1; }),
        choice({"OLLAMA_ALLOW_CLOUD", "0", kPlain, kReload,
                "1: models that run on ollama.com may be used"},
               "0|1",
               [](Config &c, size_t i) { c.ollama_allow_cloud = i == 1; }),
        with_reader({"OLLAMA_OPTIONS_ALLOW", "", kPlain, kReload,
                     "options that clients may set"},
                    read_options_allow),
        with_reader({"OLLAMA_DEFAULT_OPTIONS", "", kPlain, kReload,
                     "options for requests that do not set them, JSON"},
                    read_default_options),
        count({"OLLAMA_NUM_CTX_MAX", "0", kPlain, kReload,
               "larger num_ctx are lowered to it, 0 = never"},
              read_count, &Config::ollama_num_ctx_max, "0", "1000000000"),
        with_reader({"OLLAMA_KEEP_ALIVE", "", kPlain, kReload,
                     "how long a model stays loaded after a request"},
                    read_keep_alive),
        duration({"OLLAMA_KEEP_ALIVE_MAX", "0", kPlain, kReload,
                  "longer keep_alive are lowered to it, 0 = never"},
                 &Config::ollama_keep_alive_max_ms, "0"),
        choice({"REASONING_FIELD", "reasoning", kPlain, kReload,
                "name of a model's reasoning in answers"},
               "reasoning|reasoning_content|both",
               [](Config &c, size_t i) {
                   c.reasoning_field = static_cast<ReasoningField>(i);
               }),
    };
}

// What says how to speak to vLLM, and how patient to be with any backend.
inline std::vector<Setting> backend_rows()
{
    return {
        of_backend({"VLLM_BASE_URL", "http://127.0.0.1:8000", kPlain, kReload,
                    "where vLLM, or a server like it, answers"},
                   read_base_url, BackendKind::Vllm),
        of_backend(
            {"VLLM_API_KEY", "", kSecret, kReload, "key that vLLM asks for"},
            read_api_key, BackendKind::Vllm),
        of_backend({"VLLM_CA_FILE", "", kPlain, kReload,
                    "certificates to check an https vLLM against"},
                   read_ca_file, BackendKind::Vllm),
        count({"BACKEND_MAX_INFLIGHT", "0", kPlain, kReload,
               "requests at a time to each backend, 0 = unlimited"},
              read_max_inflight, nullptr, "0", "1000000"),
        count({"QUEUE_SIZE", "1024", kPlain, kReload,
               "requests that may wait for one backend"},
              read_count, &Config::queue_size, "0", "1000000"),
        duration({"QUEUE_TIMEOUT", "30s", kPlain, kReload,
                  "longest wait in that queue"},
                 &Config::queue_timeout_ms),
        duration({"CONNECT_TIMEOUT", "2s", kPlain, kReload,
                  "to connect to a backend"},
                 &Config::connect_timeout_ms),
        duration({"FIRST_BYTE_TIMEOUT", "600s", kPlain, kReload,
                  "for a backend to begin its answer"},
                 &Config::first_byte_timeout_ms),
        duration({"STREAM_IDLE_TIMEOUT", "300s", kPlain, kReload,
                  "longest silence of a backend within an answer"},
                 &Config::stream_idle_timeout_ms),
    };
}

// What bounds clients and the process, and where it logs.
inline std::vector<Setting> process_rows()
{
    return {
        count({"WORKERS", "", kPlain, kRestart,
               "threads; by default one per core, at most 4"},
              read_count, &Config::workers, "1", "64"),
        count({"MAX_CONNECTIONS", "10000", kPlain, kReload,
               "clients connected at a time"},
              read_count, &Config::max_connections, "1", "1000000"),
        size({"MAX_BODY_BYTES", "20m", kPlain, kReload, "largest request body"},
             &Config::max_body_bytes, "1", "1g"),
        size({"MAX_BUFFERED_BYTES", "256m", kPlain, kReload,
              "bytes of all connections held in memory"},
             &Config::max_buffered_bytes, "1", "1024g"),
        duration({"HEAD_TIMEOUT", "10s", kPlain, kReload,
                  "for a client to send a request's head"},
                 &Config::head_timeout_ms),
        duration({"BODY_TIMEOUT", "30s", kPlain, kReload,
                  "longest silence of a client within a request's body"},
                 &Config::body_timeout_ms),
        duration({"KEEPALIVE_TIMEOUT", "75s", kPlain, kReload,
                  "for an idle client's connection"},
                 &Config::keepalive_timeout_ms),
        duration({"WRITE_TIMEOUT", "60s", kPlain, kReload,
                  "for a client that takes nothing of its answer"},
                 &Config::write_timeout_ms),
        duration({"SSE_KEEPALIVE", "15s", kPlain, kReload,
                  "silence after which a stream gets a comment, 0 = never"},
                 &Config::sse_keepalive_ms, "0"),
        duration({"DRAIN_DELAY", "0", kPlain, kReload,
                  "from SIGTERM to the end of accepting"},
                 &Config::drain_delay_ms, "0"),
        duration({"DRAIN_TIMEOUT", "60s", kPlain, kReload,
                  "for running requests to end after SIGTERM"},
                 &Config::drain_timeout_ms),
        duration({"UPGRADE_TIMEOUT", "30s", kPlain, kReload,
                  "for the new process to start after SIGUSR2"},
                 &Config::upgrade_timeout_ms),
        with_reader({"CONTROL_SOCKET", "", kPlain, kRestart,
                     "unix socket that llm-proxyctl speaks to"},
                    read_control_socket),
        choice({"LOG_LEVEL", "notice", kPlain, kReload,
                "least important message to log"},
               "error|warning|notice|info|debug",
               [](Config &c, size_t i) {
                   c.log_level = static_cast<LogLevel>(i);
               }),
        choice({"LOG_FORMAT", "text", kPlain, kReload, "form of log lines"},
               "text|json",
               [](Config &c, size_t i) {
                   c.log_format = static_cast<LogFormat>(i);
               }),
        text({"LOG_FILE", "", kPlain, kReload,
              "the error log: a file, or syslog, instead of standard error"},
             &Config::log_file),
        text({"ACCESS_LOG", "", kPlain, kReload,
              "the access log: a file, syslog, or - = standard error"},
             &Config::access_log),
    };
}

inline const std::vector<Setting> &table()
{
    static const std::vector<Setting> rows = [] {
        std::vector<Setting> all = front_rows();
        for (const auto part :
             {limit_rows, ollama_rows, backend_rows, process_rows}) {
            for (const Setting &s : part()) {
                all.push_back(s);
            }
        }
        return all;
    }();
    return rows;
}

// The row of that name, or the number of rows.
inline size_t row_index(std::string_view name)
{
    size_t i = 0;
    while (i < table().size() && name != table()[i].row.name) {
        i++;
    }
    return i;
}

} // namespace llmproxy

#endif
