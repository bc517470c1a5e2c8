// The daemon's answers as text. What a document lacks is shown as unknown.
#include "text.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <algorithm>

#include "table.h"

namespace llmproxy
{

namespace
{

std::string_view word(const json_t *object, const char *key)
{
    std::string_view text;
    return json::get_string(object, key, text) ? text : std::string_view();
}

uint64_t count(const json_t *object, const char *key)
{
    int64_t number = 0;
    return json::get_int(object, key, number) && number > 0
               ? static_cast<uint64_t>(number)
               : 0;
}

std::string number(const json_t *object, const char *key)
{
    return std::to_string(count(object, key));
}

bool truth(const json_t *object, const char *key)
{
    bool value = false;
    return json::get_bool(object, key, value) && value;
}

// "3/10"; "3/-" where there is no limit, "?/10" where the use is not known.
std::string of_limit(const json_t *object, const char *used, const char *limit)
{
    const bool known = json::get(object, used) != nullptr;
    const bool limited = json::get(object, limit) != nullptr;
    return (known ? number(object, used) : "?") + "/" +
           (limited ? number(object, limit) : "-");
}

std::string reset_of(const json_t *window)
{
    const uint64_t ms = count(window, "reset_ms");
    return ms == 0 ? "-" : short_time(static_cast<int64_t>(ms));
}

std::string joined(const json_t *object, const char *key, const char *none)
{
    std::string text;
    for (json_t *item : json::elements(json::get(object, key))) {
        text += text.empty() ? "" : ", ";
        text += json::string_of(item);
    }
    return text.empty() ? none : text;
}

std::string requests(const json_t *answer)
{
    json_t *causes = json::get(answer, "requests");
    std::string text;
    for (const std::string_view name : json::keys(causes)) {
        const std::string key(name);
        if (count(causes, key.c_str()) > 0) {
            text += (text.empty() ? "" : ", ") + number(causes, key.c_str()) +
                    " " + key;
        }
    }
    return text.empty() ? "none has ended yet" : text;
}

std::string uptime(const json_t *answer)
{
    return short_time(static_cast<int64_t>(count(answer, "uptime_ms")));
}

Lines status(const json_t *answer)
{
    const std::string head =
        "llm-proxyd " + std::string(word(answer, "version")) + ", pid " +
        number(answer, "pid") + ", " + std::string(word(answer, "phase")) +
        ", up " + uptime(answer);
    std::string config(word(answer, "config"));
    config = (config.empty() ? "environment" : config) + ", loaded " +
             std::string(word(answer, "loaded"));
    if (truth(answer, "reload_failed")) {
        config += "; the last reload failed";
    }
    std::string workers;
    for (const json_t *worker : json::elements(json::get(answer, "workers"))) {
        workers += workers.empty() ? "" : ", ";
        workers += truth(worker, "answers") ? number(worker, "exchanges") : "?";
    }
    const bool decides = truth(answer, "limit_store_decides");
    const std::pair<const char *, std::string> rows[] = {
        {"config", config},
        {"listening", joined(answer, "listeners", "no more")},
        {"connections", number(answer, "connections") + " of " +
                            number(answer, "max_connections")},
        {"running", number(answer, "exchanges") + " by workers: " + workers},
        {"ended", requests(answer)},
        {"buffered", short_bytes(count(answer, "buffered_bytes")) + " of " +
                         short_bytes(count(answer, "max_buffered_bytes"))},
        {"tokens", number(answer, "tokens") + ", limits counted in " +
                       std::string(word(answer, "limit_store")) +
                       (decides ? "" : ", which does not decide now")},
        {"log", "level " + std::string(word(answer, "log_level")) + ", " +
                    number(answer, "log_lines_dropped") + " lines dropped"},
    };
    Lines lines = {printable(head)};
    for (const auto &[name, value] : rows) {
        std::string line = "  " + std::string(name);
        line.resize(15, ' ');
        lines.push_back(line + printable(value));
    }
    return lines;
}

Lines labels(const json_t *list, bool all)
{
    std::vector<Table::Column> columns = {{"LABEL", false}, {"RUNNING", true},
                                          {"MINUTE", true}, {"RESET", true},
                                          {"DAY", true},    {"RESET", true}};
    if (all) {
        columns.push_back({"STATE", false});
    }
    Table table(columns);
    for (const json_t *token : json::elements(list)) {
        const json_t *minute = json::get(token, "minute");
        const json_t *day = json::get(token, "day");
        const std::string running = of_limit(token, "running", "concurrency");
        const std::string in_minute = of_limit(minute, "used", "limit");
        const std::string in_day = of_limit(day, "used", "limit");
        const std::string minute_reset = reset_of(minute);
        const std::string day_reset = reset_of(day);
        std::string state = truth(token, "disabled") ? "disabled" : "";
        const std::string_view expires = word(token, "expires");
        if (!expires.empty()) {
            state += (state.empty() ? "until " : ", until ");
            state += expires.substr(0, 19);
            state += 'Z';
        }
        std::vector<std::string_view> cells = {
            word(token, "label"), running, in_minute,
            minute_reset,         in_day,  day_reset};
        if (all) {
            cells.emplace_back(state);
        }
        table.add(cells);
    }
    return table.rows() == 0 ? Lines() : table.lines();
}

Lines backends(const json_t *answer)
{
    Table table({{"NAME", false},
                 {"URL", false},
                 {"STATE", false},
                 {"INFLIGHT", true},
                 {"QUEUED", true},
                 {"ANSWERED", true},
                 {"FAILED", true},
                 {"LAST FAILURE", false}});
    for (const json_t *b : json::elements(json::get(answer, "backends"))) {
        std::string name(word(b, "name"));
        name += truth(b, "default") ? " *" : "";
        std::string failure(word(b, "last_failure").substr(0, 19));
        if (!failure.empty()) {
            failure += "Z " + std::string(word(b, "last_error"));
        }
        const std::string inflight = of_limit(b, "inflight", "max_inflight");
        const std::string queued = of_limit(b, "queued", "queue_size");
        const std::string answered = number(b, "answered");
        const std::string failed = number(b, "failed");
        table.add({name, word(b, "url"), word(b, "state"), inflight, queued,
                   answered, failed, failure});
    }
    return table.lines();
}

Lines running(const json_t *answer)
{
    Table table({{"AGE", true},
                 {"PHASE", false},
                 {"LABEL", false},
                 {"MODEL", false},
                 {"BACKEND", false},
                 {"ENDPOINT", false},
                 {"PIECES", true},
                 {"BYTES", true},
                 {"PEER", false},
                 {"ID", false}});
    std::vector<json_t *> all = json::elements(json::get(answer, "running"));
    std::stable_sort(all.begin(), all.end(),
                     [](const json_t *a, const json_t *b) {
                         return count(a, "age_ms") > count(b, "age_ms");
                     });
    for (const json_t *e : all) {
        const std::string age =
            short_time(static_cast<int64_t>(count(e, "age_ms")));
        const std::string pieces = number(e, "pieces");
        const std::string bytes = short_bytes(count(e, "bytes"));
        table.add({age, word(e, "phase"), word(e, "label"),
                   word(e, "model").substr(0, 40), word(e, "backend"),
                   word(e, "endpoint"), pieces, bytes, word(e, "peer"),
                   word(e, "id")});
    }
    return table.rows() == 0 ? Lines() : table.lines();
}

Lines top(const json_t *answer)
{
    const TopText text = show_top(answer);
    Lines lines = {text.head};
    for (const Lines *part : {&text.labels, &text.running}) {
        if (!part->empty()) {
            lines.emplace_back();
            lines.insert(lines.end(), part->begin(), part->end());
        }
    }
    return lines;
}

Lines reload(const json_t *answer)
{
    Lines lines = {"reloaded, " + number(answer, "tokens") + " tokens; " +
                   printable(word(answer, "summary"))};
    for (json_t *name : json::elements(json::get(answer, "restart"))) {
        lines.push_back(printable(json::string_of(name)) +
                        " has changed: takes a restart");
    }
    for (json_t *text : json::elements(json::get(answer, "warnings"))) {
        lines.push_back("warning: " + printable(json::string_of(text)));
    }
    return lines;
}

Lines drain(const json_t *answer)
{
    if (truth(answer, "was_draining")) {
        return {"the daemon is draining already"};
    }
    return {"draining, " + number(answer, "connections") +
            " clients, for at most " +
            short_time(static_cast<int64_t>(count(answer, "timeout_ms")))};
}

Lines config(const json_t *answer)
{
    Lines lines;
    json_t *settings = json::get(answer, "settings");
    for (const std::string_view name : json::keys(settings)) {
        const std::string key(name);
        lines.push_back(key + "=" + std::string(word(settings, key.c_str())));
    }
    return lines;
}

} // namespace

TopText show_top(const json_t *answer)
{
    TopText text;
    text.head = printable(
        "llm-proxyd " + std::string(word(answer, "version")) + ", " +
        std::string(word(answer, "phase")) + ", up " + uptime(answer) + ": " +
        number(answer, "connections") + " clients, " +
        number(answer, "exchanges") + " requests running, " +
        short_bytes(count(answer, "buffered_bytes")) + " buffered");
    text.labels = labels(json::get(answer, "labels"), false);
    text.running = running(answer);
    return text;
}

Lines show(ControlCommand command, const json_t *answer)
{
    switch (command) {
    case ControlCommand::Status:
        return status(answer);
    case ControlCommand::Top:
        return top(answer);
    case ControlCommand::Tokens:
        return labels(json::get(answer, "tokens"), true);
    case ControlCommand::Backends:
        return backends(answer);
    case ControlCommand::Reload:
        return reload(answer);
    case ControlCommand::Drain:
        return drain(answer);
    case ControlCommand::LogLevel:
        return {std::string(word(answer, "level"))};
    case ControlCommand::LimiterReset:
        return {"reset, in " + std::string(word(answer, "limit_store"))};
    case ControlCommand::Config:
        return config(answer);
    }
    return {};
}

} // namespace llmproxy
