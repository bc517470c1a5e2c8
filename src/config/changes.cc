// What a reload changes: two snapshots, compared by the table of settings and
// by the labels of the tokens.
#include "llm_proxy/config/changes.h"

#include <string_view>
#include <unordered_map>

#include "setting_table.h"

namespace llmproxy
{

namespace
{

constexpr size_t kMostNamed = 10;

// What belongs to the store waits for it.
bool is_of_store(const SettingRow &row)
{
    const std::string_view name = row.name;
    return name == "REDIS_URL" || name == "REDIS_CA_FILE";
}

// Calls change(row's index, takes a restart) for each row that differs.
template <typename Change>
void for_each_change(const Config &running, const Config &wanted,
                     const Change &change)
{
    const std::vector<Setting> &rows = table();
    for (size_t i = 0; i < rows.size(); i++) {
        const bool waits = !rows[i].row.reloadable ||
                           (is_of_store(rows[i].row) &&
                            running.limit_store != wanted.limit_store);
        // A list of tokens is told by its tokens.
        if (std::string_view(rows[i].row.name) == "TOKENS_JSON") {
            continue;
        }
        if (running.dump[i] != wanted.dump[i] ||
            running.secrets[i] != wanted.secrets[i]) {
            change(i, waits);
        }
    }
}

bool same_token(const Principal &a, const Principal &b)
{
    return a.digest == b.digest && a.rpm == b.rpm && a.rpd == b.rpd &&
           a.concurrency == b.concurrency && a.models == b.models &&
           a.disabled == b.disabled && a.expires_s == b.expires_s;
}

using ByLabel = std::unordered_map<std::string_view, const Principal *>;

ByLabel by_label(const TokenTable &tokens)
{
    ByLabel found;
    for (const Principal &principal : tokens.principals()) {
        found.emplace(principal.label, &principal);
    }
    return found;
}

void compare_tokens(const TokenTable &running, const TokenTable &wanted,
                    ConfigChanges &changes)
{
    const ByLabel before = by_label(running);
    const ByLabel after = by_label(wanted);
    for (const Principal &principal : running.principals()) {
        if (after.count(principal.label) == 0) {
            changes.tokens_removed.push_back(principal.label);
        }
    }
    for (const Principal &principal : wanted.principals()) {
        const auto found = before.find(principal.label);
        if (found == before.end()) {
            changes.tokens_added.push_back(principal.label);
        } else if (!same_token(*found->second, principal)) {
            changes.tokens_changed.push_back(principal.label);
        }
    }
}

void append_names(std::string &out, const char *what,
                  const std::vector<std::string> &names, size_t most)
{
    if (names.empty()) {
        return;
    }
    out += out.empty() ? "" : "; ";
    out += what;
    for (size_t i = 0; i < names.size() && i < most; i++) {
        out += i == 0 ? ": " : ", ";
        out += names[i];
    }
    if (names.size() > most) {
        out += " and " + std::to_string(names.size() - most) + " more";
    }
}

} // namespace

ConfigChanges compare_configs(const Config &running, const Config &wanted)
{
    ConfigChanges changes;
    for_each_change(running, wanted, [&](size_t row, bool waits) {
        (waits ? changes.restart : changes.settings)
            .emplace_back(table()[row].row.name);
    });
    compare_tokens(running.tokens, wanted.tokens, changes);
    return changes;
}

std::string to_string(const ConfigChanges &changes)
{
    std::string text;
    append_names(text, "changed", changes.settings, SIZE_MAX);
    append_names(text, "tokens added", changes.tokens_added, kMostNamed);
    append_names(text, "tokens removed", changes.tokens_removed, kMostNamed);
    append_names(text, "tokens changed", changes.tokens_changed, kMostNamed);
    return text.empty() ? "nothing has changed" : text;
}

void keep_until_restart(const Config &running, Config &wanted)
{
    for_each_change(running, wanted, [&](size_t row, bool waits) {
        if (waits) {
            wanted.dump[row] = running.dump[row];
            wanted.secrets[row] = running.secrets[row];
        }
    });
    if (wanted.limit_store != running.limit_store) {
        wanted.limit_store = running.limit_store;
        wanted.redis_url = running.redis_url;
        wanted.redis_ca_file = running.redis_ca_file;
        wanted.redis_trust = running.redis_trust;
    }
    wanted.workers = running.workers;
}

} // namespace llmproxy
