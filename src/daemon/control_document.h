#ifndef LLM_PROXY_DAEMON_CONTROL_DOCUMENT_H
#define LLM_PROXY_DAEMON_CONTROL_DOCUMENT_H

#include "llm_proxy/json/writer.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "worker_report.h"

namespace llmproxy
{

// One answer of the control socket under construction: an object with "ok".
class ControlDocument
{
public:
    explicit ControlDocument(bool ok);
    ~ControlDocument() = default;
    ControlDocument(const ControlDocument &) = delete;
    ControlDocument &operator=(const ControlDocument &) = delete;

    json::Writer &json() { return json_; }
    // Text of others, escaped as in the logs; empty is null.
    void foreign(std::string_view key, std::string_view value);
    // Since 1970; 0 is null.
    void time(std::string_view key, int64_t wall_ms);
    // A limit; 0 is null: there is none.
    void limit(std::string_view key, uint64_t value);
    void list(std::string_view key, const std::vector<std::string> &items);
    // "late_workers", where there are any.
    void late(const std::vector<WorkerAnswer> &all);
    // The whole document with its line's end.
    std::string end();

private:
    std::string text_;
    json::Writer json_;
};

} // namespace llmproxy

#endif
