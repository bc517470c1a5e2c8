#ifndef LLM_PROXY_DAEMON_HASH_TOKEN_H
#define LLM_PROXY_DAEMON_HASH_TOKEN_H

#include "llm_proxy/base/error.h"

#include <string>

namespace llmproxy
{

// Reads a token, one line on standard input, unseen where that is a terminal,
// and gives the 64 hex digits that TOKENS_JSON takes as token_sha256. False if
// that is no token that a client could show.
[[nodiscard]] bool hash_token(std::string &out, Error &err);

} // namespace llmproxy

#endif
