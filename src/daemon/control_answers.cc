// What the control socket says of the daemon as a whole.
#include "control_answers.h"

#include "llm_proxy/base/clock.h"
#include "llm_proxy/base/log.h"

#include <algorithm>

#include <unistd.h>

#include "control_document.h"

namespace llmproxy
{

ControlDocument::ControlDocument(bool ok) : json_(text_)
{
    json_.begin_object();
    json_.boolean("ok", ok);
}

void ControlDocument::foreign(std::string_view key, std::string_view value)
{
    if (value.empty()) {
        json_.null(key);
        return;
    }
    std::string escaped;
    append_escaped(escaped, value);
    json_.text(key, escaped);
}

void ControlDocument::time(std::string_view key, int64_t wall_ms)
{
    if (wall_ms == 0) {
        json_.null(key);
        return;
    }
    json_.text(key, iso_time(wall_ms));
}

void ControlDocument::limit(std::string_view key, uint64_t value)
{
    if (value == 0) {
        json_.null(key);
    } else {
        json_.number(key, value);
    }
}

void ControlDocument::list(std::string_view key,
                           const std::vector<std::string> &items)
{
    json_.begin_array(key);
    for (const std::string &item : items) {
        json_.text({}, item);
    }
    json_.end_array();
}

void ControlDocument::late(const std::vector<WorkerAnswer> &all)
{
    if (std::all_of(all.begin(), all.end(),
                    [](const WorkerAnswer &a) { return a.came; })) {
        return;
    }
    json_.begin_array("late_workers");
    for (size_t i = 0; i < all.size(); i++) {
        if (!all[i].came) {
            json_.number({}, i);
        }
    }
    json_.end_array();
}

std::string ControlDocument::end()
{
    json_.end_object();
    text_ += '\n';
    return std::move(text_);
}

std::string refusal(int code, const std::string &error)
{
    ControlDocument doc(false);
    doc.json().number("code", static_cast<uint64_t>(code));
    doc.json().text("error", error);
    return doc.end();
}

namespace
{

void add_load(ControlDocument &doc, const ControlView &view,
              const WorkerAnswers &all)
{
    json::Writer &w = doc.json();
    ProcessState &process = view.process;
    uint64_t exchanges = 0;
    for (const WorkerAnswer &answer : all) {
        exchanges += answer.exchanges;
    }
    w.text("version", LLMPROXY_VERSION);
    w.number("pid", static_cast<uint64_t>(getpid()));
    w.text("phase", view.phase);
    doc.time("started", view.loaded.started_ms);
    w.number("uptime_ms", static_cast<uint64_t>(process.clock.mono_ms() -
                                                view.loaded.started_mono_ms));
    w.number("connections", process.connections.load());
    w.number("max_connections", view.config->max_connections);
    w.number("exchanges", exchanges);
    w.number("buffered_bytes", process.buffered.used());
    w.number("max_buffered_bytes", view.config->max_buffered_bytes);
    w.begin_object("requests");
    for (size_t i = 0; i < kCauses; i++) {
        w.number(cause_name(static_cast<Cause>(i)),
                 process.ended[i].load(std::memory_order_relaxed));
    }
    w.end_object();
}

} // namespace

std::string status_answer(const ControlView &view, const WorkerAnswers &all)
{
    ControlDocument doc(true);
    json::Writer &w = doc.json();
    add_load(doc, view, all);
    w.begin_array("workers");
    for (const WorkerAnswer &answer : all) {
        w.begin_object();
        w.boolean("answers", answer.came);
        w.number("connections", answer.connections);
        w.number("exchanges", answer.exchanges);
        w.end_object();
    }
    w.end_array();
    doc.list("listeners", view.listeners.names());
    if (view.config_path.empty()) {
        w.null("config");
    } else {
        w.text("config", view.config_path);
    }
    doc.time("loaded", view.loaded.loaded_ms);
    w.number("generation", view.loaded.generation);
    w.boolean("reload_failed", view.loaded.reload_failed);
    w.number("tokens", view.config->tokens.size());
    const bool redis = view.config->limit_store == LimitStore::Redis;
    w.text("limit_store", redis ? "redis" : "memory");
    w.boolean("limit_store_decides", !view.process.limit_store.degraded());
    w.text("log_level", log_level_name(log_level()));
    w.number("log_lines_dropped", log_dropped());
    doc.late(all);
    return doc.end();
}

std::string backends_answer(const ControlView &view)
{
    ControlDocument doc(true);
    json::Writer &w = doc.json();
    w.begin_array("backends");
    for (size_t i = 0; i < kBackends; i++) {
        const BackendConfig &backend = view.config->backends[i];
        const BackendGate::Load load = view.process.gates[i].load();
        const BackendNotes::Seen seen = view.process.backends[i].seen();
        const bool fails =
            seen.failed_ms > 0 && seen.failed_ms >= seen.answered_ms;
        const char *state = fails                  ? "fails"
                            : seen.answered_ms > 0 ? "answers"
                                                   : "unknown";
        w.begin_object();
        w.text("name", backend.name);
        w.text("url", backend.url.text);
        w.boolean("default", backend.kind == view.config->default_backend);
        w.text("state", state);
        w.number("inflight", load.inflight);
        doc.limit("max_inflight", backend.max_inflight);
        w.number("queued", load.waiting);
        w.number("queue_size", view.config->queue_size);
        w.number("answered", seen.answered);
        w.number("failed", seen.failed);
        doc.time("last_answer", seen.answered_ms);
        doc.time("last_failure", seen.failed_ms);
        doc.foreign("last_error", seen.why);
        w.end_object();
    }
    w.end_array();
    return doc.end();
}

std::string top_answer(const ControlView &view, const WorkerAnswers &all)
{
    ControlDocument doc(true);
    json::Writer &w = doc.json();
    add_load(doc, view, all);
    add_labels(doc, "labels", view, all, true);
    w.begin_array("running");
    for (size_t i = 0; i < all.size(); i++) {
        for (const ExchangeView &e : all[i].listed) {
            w.begin_object();
            doc.foreign("id", e.id);
            doc.foreign("label", e.label);
            doc.foreign("peer", e.peer);
            doc.foreign("endpoint", e.endpoint);
            doc.foreign("model", e.model);
            doc.foreign("backend", e.backend);
            w.text("phase", e.phase);
            w.number("age_ms", static_cast<uint64_t>(e.age_ms));
            w.number("pieces", e.pieces);
            w.number("bytes", e.bytes);
            w.number("worker", i);
            w.end_object();
        }
    }
    w.end_array();
    doc.late(all);
    return doc.end();
}

std::string config_answer(const ControlView &view)
{
    ControlDocument doc(true);
    json::Writer &w = doc.json();
    w.begin_object("settings");
    for (const std::string &line : view.config->dump) {
        const size_t equals = line.find('=');
        w.text(line.substr(0, equals), line.substr(equals + 1));
    }
    w.end_object();
    return doc.end();
}

std::string reload_answer(const ControlView &view, const ReloadResult &result)
{
    ControlDocument doc(result.code == 0);
    json::Writer &w = doc.json();
    w.number("code", static_cast<uint64_t>(result.code));
    if (result.code != 0) {
        w.text("error", "reload failed, the running configuration stays");
        doc.list("errors", result.errors);
        return doc.end();
    }
    w.number("tokens", result.tokens);
    w.text("summary", to_string(result.changes));
    doc.list("changed", result.changes.settings);
    doc.list("restart", result.changes.restart);
    doc.list("tokens_added", result.changes.tokens_added);
    doc.list("tokens_removed", result.changes.tokens_removed);
    doc.list("tokens_changed", result.changes.tokens_changed);
    doc.list("warnings", view.config->warnings);
    return doc.end();
}

} // namespace llmproxy
