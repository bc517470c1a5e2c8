#ifndef LLM_PROXY_SRC_ADAPT_HEAD_H
#define LLM_PROXY_SRC_ADAPT_HEAD_H

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/http/api_error.h"
#include "llm_proxy/http/message.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

// What both adapters do with heads.
namespace llmproxy
{

// The header lines that every backend gets.
std::vector<std::string> request_headers(const ClientRequest &request,
                                         std::string_view accept);

// Content-Type is `type`, whatever its parameters.
bool has_media_type(const ReplyHead &head, std::string_view type);
// Why a reply that is no error cannot be used, whatever its body; nullptr if
// it can.
const char *unusable_reply(const ReplyHead &head);
// The same for Ollama, whose answers are JSON, or lines of JSON where that
// `may_stream`: false, and `err` filled, if the reply cannot be used.
[[nodiscard]] bool accept_ollama_reply(const ReplyHead &head, bool may_stream,
                                       ApiError &err);
// Retry-After in whole seconds; 0 if absent or a date.
int reply_retry_after(const ReplyHead &head);

// The JSON path of an element: "stop[1]".
std::string item_of(std::string_view array, size_t index);
// Fills `err` and returns false, so that a check is one statement.
bool refuse(ApiError &err, ApiErrorKind kind, std::string message,
            std::string param = {});

} // namespace llmproxy

#endif
