// The table of commands, and reading words by it.
#include "llm_proxy/daemon/control_commands.h"

#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

namespace llmproxy
{

const std::vector<ControlCommandRow> kControlCommands = {
    {ControlCommand::Status, "status", "", 0, 0,
     "the daemon as a whole: uptime, load, requests by outcome"},
    {ControlCommand::Top, "top", "", 0, 0,
     "running requests and their labels, live in a terminal"},
    {ControlCommand::Tokens, "tokens", "", 0, 0,
     "what each label has used of its limits"},
    {ControlCommand::Backends, "backends", "", 0, 0,
     "the model servers: load, queue, last error"},
    {ControlCommand::Reload, "reload", "", 0, 0,
     "read settings anew: what has changed, or every error"},
    {ControlCommand::Drain, "drain", "", 0, 0,
     "accept nobody new, finish what runs, end"},
    {ControlCommand::LogLevel, "loglevel", "[LEVEL]", 0, 1,
     "show the log's level, or set it until the next reload"},
    {ControlCommand::LimiterReset, "limiter reset", "LABEL", 1, 1,
     "give a label its whole minute and day back"},
    {ControlCommand::Config, "config", "", 0, 0,
     "the settings in force, secrets masked"},
};

namespace
{

bool begins_with(const std::vector<std::string_view> &words,
                 const std::vector<std::string_view> &name)
{
    for (size_t i = 0; i < name.size(); i++) {
        if (i >= words.size() || words[i] != name[i]) {
            return false;
        }
    }
    return true;
}

std::string unknown_command(const std::vector<std::string_view> &words)
{
    std::string said;
    append_escaped(said, words[0], 64);
    std::vector<std::string_view> names;
    std::string_view longer;
    for (const ControlCommandRow &row : kControlCommands) {
        const std::string_view name = row.name;
        if (starts_with(name, std::string(words[0]) + " ")) {
            return "it is '" + std::string(row.name) + " " + row.arguments +
                   "'";
        }
        names.push_back(name.substr(0, name.find(' ')));
        if (starts_with(name, words[0])) {
            longer = names.back();
        }
    }
    std::string message = "unknown command '" + said + "'";
    const std::string_view nearest =
        longer.empty() ? nearest_name(words[0], names) : longer;
    if (!nearest.empty()) {
        message += "; did you mean '" + std::string(nearest) + "'?";
    }
    return message;
}

} // namespace

bool parse_control(const std::vector<std::string_view> &words,
                   ControlRequest &out, Error &err)
{
    if (words.empty()) {
        err.message = "a command is missing";
        return false;
    }
    for (const ControlCommandRow &row : kControlCommands) {
        const std::vector<std::string_view> name = split_list(row.name, ' ');
        if (!begins_with(words, name)) {
            continue;
        }
        const size_t given = words.size() - name.size();
        if (given < row.least || given > row.most) {
            err.message =
                std::string(row.name) +
                (row.most == 0 ? " takes no argument"
                               : std::string(" takes ") + row.arguments);
            return false;
        }
        out.row = &row;
        out.arguments.clear();
        for (size_t i = name.size(); i < words.size(); i++) {
            out.arguments.emplace_back(words[i]);
        }
        return true;
    }
    err.message = unknown_command(words);
    return false;
}

} // namespace llmproxy
