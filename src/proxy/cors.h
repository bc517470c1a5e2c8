#ifndef LLM_PROXY_SRC_PROXY_CORS_H
#define LLM_PROXY_SRC_PROXY_CORS_H

#include "llm_proxy/config/settings.h"
#include "llm_proxy/http/message.h"

namespace llmproxy
{

// What lets pages of CORS_ORIGINS read an answer (Fetch standard, 3.2).
// Nothing where that is not set.
void append_cors_fields(const Config &config, const RequestHead &head,
                        FieldBlock &out);
// To an OPTIONS request: that they may send such a request with `methods`.
// Nothing for other origins and for what is no preflight.
void append_preflight_fields(const Config &config, const RequestHead &head,
                             const char *methods, FieldBlock &out);

} // namespace llmproxy

#endif
