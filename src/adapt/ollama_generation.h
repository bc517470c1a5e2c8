#ifndef LLM_PROXY_SRC_ADAPT_OLLAMA_GENERATION_H
#define LLM_PROXY_SRC_ADAPT_OLLAMA_GENERATION_H

#include "llm_proxy/adapt/adapter.h"

#include <memory>

#include "answer_writer.h"
#include "ollama_translation.h"

namespace llmproxy
{

// The adapter for one exchange with one of Ollama's generating endpoints;
// `endpoint` outlives it.
std::unique_ptr<Adapter> make_generation(const NativeEndpoint &endpoint,
                                         std::unique_ptr<AnswerWriter> writer);

} // namespace llmproxy

#endif
