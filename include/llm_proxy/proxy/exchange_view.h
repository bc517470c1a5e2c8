#ifndef LLM_PROXY_PROXY_EXCHANGE_VIEW_H
#define LLM_PROXY_PROXY_EXCHANGE_VIEW_H

#include <cstdint>
#include <string>

namespace llmproxy
{

// What an operator sees of a running exchange. Copies: it travels to another
// thread. Text is as it came, not escaped.
struct ExchangeView {
    std::string id; // of the request
    std::string label;
    std::string peer;
    std::string endpoint;
    std::string model;
    std::string backend;
    // request, limit, list, translate, queue, connect, wait, answer
    const char *phase = "";
    int64_t age_ms = 0;
    uint64_t pieces = 0;
    uint64_t bytes = 0; // of the answer
};

} // namespace llmproxy

#endif
