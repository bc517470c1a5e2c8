#ifndef LLM_PROXY_TESTS_BENCH_ANSWERS_H
#define LLM_PROXY_TESTS_BENCH_ANSWERS_H

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy
{

constexpr int kEmbeddings = 256;
constexpr int kDimensions = 1024;

// Every answer of the benchmark's backend, head included, rendered once at
// the start: answering is then one write. Shapes and heads are those of vLLM
// 0.6 (uvicorn: a chunk an event) and of Ollama (a chunk a line).
struct Answers {
    // Streams of `pieces` events or lines.
    explicit Answers(uint64_t pieces);

    std::string vllm_chat;
    std::string vllm_burst;
    std::string ollama_chat;
    std::string ollama_burst;
    std::string ollama_embed; // kEmbeddings vectors of kDimensions
    std::string vllm_models;
    std::string ollama_models;
    std::string not_found;

    // A paced stream is its head, pieces one at a time, and its end. A piece
    // has a stamp (stamp.h).
    std::string paced_head;
    std::string paced_piece;
    std::string paced_end;
    std::string ollama_paced_head;
    std::string ollama_paced_piece;
    std::string ollama_paced_end;
};

} // namespace llmproxy

#endif
