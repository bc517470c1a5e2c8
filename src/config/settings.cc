// The settings: one table of rows, from which the file and the environment
// are read, defaults taken, -T printed and reloads judged. All that is wrong
// is collected, so that an operator sees every mistake at once. Secrets are
// wiped from what was read and never appear in a message.

#include "llm_proxy/config/settings.h"

#include "llm_proxy/base/files.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>

#include <sched.h>

#include "addresses.h"
#include "quoted.h"
#include "setting_table.h"

namespace llmproxy
{

namespace
{

constexpr uint64_t kMaxDefaultWorkers = 4;
constexpr char kNameBytes[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "abcdefghijklmnopqrstuvwxyz0123456789_";

// A value as it was found.
struct Found {
    std::string text;
    std::string where; // empty = not given
    size_t line = 0;   // in the file; 0 = not there
};

std::string unknown_name(std::string_view name)
{
    if (trim(name) != name) {
        return "no blanks may stand before or after the name";
    }
    if (starts_with(name, "export ")) {
        return "this is no shell script; leave \"export\" out";
    }
    // What does not look like a name may be part of a secret: a list of
    // tokens that was broken into lines.
    if (name.empty() || name.find_first_not_of(kNameBytes) != name.npos) {
        return "a name holds only letters, digits and _; a value ends with "
               "its line";
    }
    std::vector<std::string_view> names;
    std::string upper;
    for (const Setting &s : table()) {
        names.emplace_back(s.row.name);
    }
    for (const char c : name) {
        upper += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    const std::string_view nearest = nearest_name(upper, names);
    std::string message = "unknown setting " + quoted(name);
    if (!nearest.empty()) {
        message += "; did you mean " + std::string(nearest) + "?";
    }
    return message;
}

// One line of the file: NAME=value, the value verbatim to the line's end.
void take_line(std::string_view line, const std::string &place, size_t number,
               std::vector<Found> &found, std::vector<Problem> &problems)
{
    const std::string_view content = trim(line);
    if (content.empty() || content.front() == '#') {
        return;
    }
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) {
        problems.push_back({place, "expected NAME=value"});
        return;
    }
    const std::string_view name = line.substr(0, equals);
    const size_t index = row_index(name);
    if (index == table().size()) {
        problems.push_back({place, unknown_name(name)});
        return;
    }
    Found &value = found[index];
    if (value.line != 0) {
        problems.push_back({place, std::string(name) +
                                       " is set twice, first on line " +
                                       std::to_string(value.line)});
        return;
    }
    value.line = number;
    value.text = line.substr(equals + 1);
    if (!value.text.empty()) {
        value.where = place + ": " + std::string(name);
    }
}

void take_lines(std::string_view text, const std::string &path,
                std::vector<Found> &found, std::vector<Problem> &problems)
{
    if (starts_with(text, "\xef\xbb\xbf")) {
        text.remove_prefix(3);
    }
    for (size_t number = 1; !text.empty(); number++) {
        const size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (ends_with(line, "\r")) {
            line.remove_suffix(1);
        }
        take_line(line, path + ":" + std::to_string(number), number, found,
                  problems);
    }
}

void take_environment(const Environment &environment, std::vector<Found> &found)
{
    for (size_t i = 0; i < found.size(); i++) {
        const std::string name = table()[i].row.name;
        const auto at = environment.find(name);
        if (at != environment.end() && !at->second.empty()) {
            wipe(found[i].text);
            found[i].text = at->second;
            found[i].where = "environment: " + name;
        }
    }
}

bool has_control_byte(const std::string &text)
{
    return std::any_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < 0x20 && byte != '\t') || byte == 0x7f;
    });
}

void read_values(const std::vector<Found> &found, Draft &draft,
                 std::vector<Problem> &problems)
{
    for (size_t i = 0; i < found.size(); i++) {
        const Setting &s = table()[i];
        const std::string value =
            found[i].text.empty() ? s.row.default_value : found[i].text;
        Error err;
        if (value.empty() || s.read == read_later) {
            continue;
        }
        if (has_control_byte(value)) {
            problems.push_back(
                {found[i].where, "the value holds a control character"});
        } else if (!s.read(s, value, draft, err)) {
            problems.push_back({found[i].where, err.message});
        }
    }
}

void load_tokens(std::vector<Found> &found, const std::string &path,
                 Draft &draft, std::vector<Problem> &problems)
{
    Found &inlined = found[row_index("TOKENS_JSON")];
    Found &file = found[row_index("TOKENS_FILE")];
    Config &config = draft.config;
    if (inlined.text.empty() && file.text.empty()) {
        problems.push_back(
            {path.empty() ? "environment: TOKENS_FILE" : path,
             "no tokens: set TOKENS_FILE to a file, or TOKENS_JSON to a list "
             "such as [{\"token\":\"...\",\"label\":\"alice\",\"rpm\":60}]"});
        return;
    }
    if (!inlined.text.empty() && !file.text.empty()) {
        problems.push_back({file.where, "TOKENS_JSON is set as well (" +
                                            inlined.where +
                                            "); keep one of the two"});
        return;
    }
    if (!inlined.text.empty()) {
        parse_tokens(inlined.text, inlined.where, false, config.tokens,
                     problems);
    } else {
        std::string text;
        bool is_public = false;
        Error err;
        if (!read_file(file.text, text, is_public, err)) {
            problems.push_back({file.where, "cannot read " + quoted(file.text) +
                                                ": " + err.message});
            return;
        }
        if (is_public) {
            config.warnings.push_back(file.text +
                                      ": everyone may read these tokens; "
                                      "chmod 640");
        }
        parse_tokens(text, file.text, true, config.tokens, problems);
    }
}

uint64_t default_workers()
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    if (sched_getaffinity(0, sizeof cores, &cores) == -1) {
        return 1;
    }
    return std::clamp<uint64_t>(static_cast<uint64_t>(CPU_COUNT(&cores)), 1,
                                kMaxDefaultWorkers);
}

// The store of the limits has an address, and an address is used.
void conclude_store(const std::vector<Found> &found, Config &config,
                    std::vector<Problem> &problems)
{
    const bool has_url = !found[row_index("REDIS_URL")].text.empty();
    if (config.limit_store == LimitStore::Memory && has_url) {
        config.warnings.emplace_back(
            "REDIS_URL is not used: RATE_LIMIT_STORE is memory");
    }
    if (config.limit_store == LimitStore::Redis && !has_url) {
        problems.push_back({found[row_index("RATE_LIMIT_STORE")].where,
                            "redis needs REDIS_URL, as in "
                            "REDIS_URL=redis://127.0.0.1:6379/0"});
    }
    if (!config.redis_ca_file.empty() && !config.redis_url.tls) {
        config.warnings.emplace_back(
            "REDIS_CA_FILE is not used: REDIS_URL is not rediss://");
    }
}

// What follows from several settings together.
void conclude(const std::vector<Found> &found, Draft &draft,
              std::vector<Problem> &problems)
{
    Config &config = draft.config;
    if (config.workers == 0) {
        config.workers = default_workers();
    }
    if (config.listen.empty() && !draft.host.empty()) {
        ListenAddress address;
        Error err;
        if (parse_listen_address(host_and_port(draft.host, draft.port), address,
                                 err)) {
            config.listen.push_back(address);
        }
    }
    if (config.max_buffered_bytes < config.max_body_bytes &&
        config.max_buffered_bytes > 0) {
        const Found &buffered = found[row_index("MAX_BUFFERED_BYTES")];
        const Found &body = found[row_index("MAX_BODY_BYTES")];
        problems.push_back(
            {buffered.text.empty() ? body.where : buffered.where,
             "MAX_BUFFERED_BYTES must be at least MAX_BODY_BYTES, or the "
             "largest body would never fit"});
    }
    conclude_store(found, config, problems);
    for (const ListenAddress &address : config.listen) {
        if (!is_local(address) && config.trusted_proxies.empty()) {
            config.warnings.push_back(
                address.text +
                " without TRUSTED_PROXIES: tokens arrive there unencrypted; "
                "put a TLS server in front and name its address");
        }
    }
    for (const BackendConfig &backend : config.backends) {
        if (!backend.ca_file.empty() && !backend.url.tls) {
            config.warnings.push_back(std::string("backend ") + backend.name +
                                      ": its CA file is not used, its URL "
                                      "is not https");
        }
    }
}

std::string masked(const SettingRow &row, const Config &config)
{
    if (std::string_view(row.name) == "REDIS_URL") {
        return masked_redis_url(config.redis_url);
    }
    std::string value = "***";
    if (std::string_view(row.name) == "TOKENS_JSON") {
        const size_t count = config.tokens.size();
        value += " (" + std::to_string(count);
        value += count == 1 ? " token)" : " tokens)";
    }
    return value;
}

void note_values(const std::vector<Found> &found, Config &config)
{
    for (size_t i = 0; i < found.size(); i++) {
        const SettingRow &row = table()[i].row;
        std::string value = row.default_value;
        Sha256 secret{};
        if (std::string_view(row.name) == "WORKERS") {
            value = std::to_string(config.workers);
        } else if (!found[i].where.empty()) {
            value = row.secret ? masked(row, config) : found[i].text;
        }
        // Wiped where it was a list of tokens.
        if (row.secret && !found[i].text.empty()) {
            secret = sha256(found[i].text);
        }
        config.dump.push_back(std::string(row.name) + "=" + value);
        config.secrets.push_back(secret);
    }
}

} // namespace

std::string to_string(const Problem &problem)
{
    return problem.where + ": " + problem.message;
}

const std::vector<SettingRow> &setting_rows()
{
    static const std::vector<SettingRow> rows = [] {
        std::vector<SettingRow> all;
        for (const Setting &s : table()) {
            all.push_back(s.row);
        }
        return all;
    }();
    return rows;
}

bool load_config(const std::string &path, const Environment &environment,
                 Config &out, std::vector<Problem> &problems,
                 bool &file_readable)
{
    const size_t problems_before = problems.size();
    std::vector<Found> found(table().size());
    Draft draft;
    draft.config.backends[static_cast<size_t>(BackendKind::Ollama)].name =
        "ollama";
    draft.config.backends[static_cast<size_t>(BackendKind::Vllm)].name = "vllm";
    draft.config.backends[static_cast<size_t>(BackendKind::Vllm)].kind =
        BackendKind::Vllm;
    file_readable = true;
    if (!path.empty()) {
        std::string text;
        bool is_public = false;
        Error err;
        if (!read_file(path, text, is_public, err)) {
            problems.push_back({path, "cannot be read: " + err.message});
            file_readable = false;
            return false;
        }
        take_lines(text, path, found, problems);
        wipe(text);
        const auto holds_secret = [&](size_t i) {
            return table()[i].row.secret && !found[i].text.empty();
        };
        for (size_t i = 0; is_public && i < found.size(); i++) {
            if (holds_secret(i)) {
                draft.config.warnings.push_back(
                    path + ": everyone may read the secrets in it; chmod 640");
                break;
            }
        }
    }
    take_environment(environment, found);
    read_values(found, draft, problems);
    conclude(found, draft, problems);
    load_tokens(found, path, draft, problems);
    if (problems.size() == problems_before) {
        note_values(found, draft.config);
        out = std::move(draft.config);
    }
    for (size_t i = 0; i < found.size(); i++) {
        if (table()[i].row.secret) {
            wipe(found[i].text);
        }
    }
    return problems.size() == problems_before;
}

bool find_setting(const std::string &path, const Environment &environment,
                  std::string_view name, std::string &out, Error &err)
{
    std::vector<Found> found(table().size());
    if (!path.empty()) {
        std::string text;
        bool is_public = false;
        if (!read_file(path, text, is_public, err)) {
            err.message = path + ": " + err.message;
            return false;
        }
        std::vector<Problem> problems;
        take_lines(text, path, found, problems);
        wipe(text);
    }
    take_environment(environment, found);
    out = found[row_index(name)].text;
    for (Found &value : found) {
        wipe(value.text);
    }
    return true;
}

namespace
{

struct Unit {
    const char *name;
    uint64_t factor;
};

// "12m" as 12 times the unit's factor, at most `max`.
bool parse_with_unit(std::string_view text, const Unit *units, uint64_t max,
                     uint64_t &out)
{
    const size_t digits =
        std::min(text.find_first_not_of("0123456789"), text.size());
    uint64_t number = 0;
    if (!parse_u64(text.substr(0, digits), number)) {
        return false;
    }
    for (const Unit *unit = units; unit->name != nullptr; unit++) {
        if (iequals(text.substr(digits), unit->name)) {
            out = number * unit->factor;
            return number <= max / unit->factor;
        }
    }
    return false;
}

} // namespace

bool parse_duration_ms(std::string_view text, int64_t &out)
{
    static const Unit units[] = {{"", 1000},    {"ms", 1},        {"s", 1000},
                                 {"m", 60'000}, {"h", 3'600'000}, {nullptr, 0}};
    uint64_t ms = 0;
    if (!parse_with_unit(text, units, INT64_MAX, ms)) {
        return false;
    }
    out = static_cast<int64_t>(ms);
    return true;
}

bool parse_size(std::string_view text, uint64_t &out)
{
    static const Unit units[] = {{"", 1},
                                 {"k", uint64_t{1} << 10},
                                 {"m", uint64_t{1} << 20},
                                 {"g", uint64_t{1} << 30},
                                 {nullptr, 0}};
    uint64_t bytes = 0;
    if (!parse_with_unit(text, units, UINT64_MAX, bytes)) {
        return false;
    }
    out = bytes;
    return true;
}

} // namespace llmproxy
