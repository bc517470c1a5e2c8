// What the control socket says of labels and their limits.
#include <algorithm>
#include <tuple>

#include "control_answers.h"
#include "control_document.h"

namespace llmproxy
{

namespace
{

// One window of one label.
struct Window {
    bool known = false;
    uint64_t used = 0;
    uint64_t limit = 0;
    int64_t reset_ms = 0; // 0 = the window does not run
};

struct Use {
    Window minute;
    Window day;
    uint64_t running = 0;
};

Window heard(uint64_t limit, uint64_t remaining, int64_t reset_ms)
{
    Window window;
    window.known = limit > 0;
    window.limit = limit;
    window.used = limit - std::min(limit, remaining);
    window.reset_ms = reset_ms;
    return window;
}

// Redis counts for all daemons: what the worker knows that heard of the latest
// window last.
const LimitVerdict *latest(const WorkerAnswers &all, size_t token)
{
    const LimitVerdict *found = nullptr;
    const auto age = [](const LimitVerdict &v) {
        return std::make_tuple(v.stamp.day, v.stamp.minute_start_ms,
                               UINT64_MAX - v.remaining_minute,
                               UINT64_MAX - v.remaining_day);
    };
    for (const WorkerAnswer &answer : all) {
        if (token < answer.limits.size() && answer.limits[token] &&
            (found == nullptr || age(*found) < age(*answer.limits[token]))) {
            found = &*answer.limits[token];
        }
    }
    return found;
}

Use use_of(const ControlView &view, const WorkerAnswers &all, size_t token)
{
    const Principal &principal = view.config->tokens.principals()[token];
    const TokenUse here = view.process.limits.use_of(principal);
    Use use;
    use.running = here.running;
    if (view.config->limit_store == LimitStore::Memory) {
        use.minute = {true, here.minute, principal.rpm, here.reset_minute_ms};
        use.day = {true, here.day, principal.rpd, here.reset_day_ms};
        return use;
    }
    use.minute.limit = principal.rpm;
    use.day.limit = principal.rpd;
    const LimitVerdict *verdict = latest(all, token);
    if (verdict != nullptr) {
        use.minute = heard(principal.rpm, verdict->remaining_minute,
                           verdict->reset_minute_ms);
        use.day =
            heard(principal.rpd, verdict->remaining_day, verdict->reset_day_ms);
    }
    return use;
}

void add_window(ControlDocument &doc, const char *name, const Window &window)
{
    json::Writer &w = doc.json();
    w.begin_object(name);
    if (window.known) {
        w.number("used", window.used);
    } else {
        w.null("used");
    }
    doc.limit("limit", window.limit);
    w.number("reset_ms",
             static_cast<uint64_t>(std::max<int64_t>(window.reset_ms, 0)));
    w.end_object();
}

} // namespace

void add_labels(ControlDocument &doc, const char *key, const ControlView &view,
                const WorkerAnswers &all, bool active)
{
    json::Writer &w = doc.json();
    const std::vector<Principal> &tokens = view.config->tokens.principals();
    w.begin_array(key);
    for (size_t i = 0; i < tokens.size(); i++) {
        const Principal &token = tokens[i];
        const Use use = use_of(view, all, i);
        if (active && use.running == 0 && use.minute.used == 0) {
            continue;
        }
        w.begin_object();
        w.text("label", token.label);
        w.number("running", use.running);
        doc.limit("concurrency", token.concurrency);
        add_window(doc, "minute", use.minute);
        add_window(doc, "day", use.day);
        w.boolean("disabled", token.disabled);
        doc.time("expires", token.expires_s * 1000);
        w.end_object();
    }
    w.end_array();
}

std::string tokens_answer(const ControlView &view, const WorkerAnswers &all)
{
    ControlDocument doc(true);
    const bool redis = view.config->limit_store == LimitStore::Redis;
    doc.json().text("limit_store", redis ? "redis" : "memory");
    add_labels(doc, "tokens", view, all, false);
    doc.late(all);
    return doc.end();
}

std::string reset_answer(const ControlView &view, const WorkerAnswers &all)
{
    ControlDocument doc(true);
    const bool redis = view.config->limit_store == LimitStore::Redis;
    doc.json().text("limit_store", redis ? "redis" : "memory");
    doc.late(all);
    return doc.end();
}

} // namespace llmproxy
