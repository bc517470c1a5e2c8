// bench_embedding: what the batch of embeddings that the benchmark's Ollama
// answers costs in this process, as JSON on standard output: parsed by jansson
// alone, and translated whole to base64. CPU nanoseconds, the least of many
// rounds, both in turn.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/json/scanner.h"
#include "llm_proxy/json/value.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include <jansson.h>

#include "answers.h"

namespace llmproxy
{

namespace
{

constexpr int kRounds = 30;
// As a socket brings it.
constexpr size_t kPiece = 8192;

int64_t cpu_ns()
{
    timespec now = {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec;
}

std::string request_body()
{
    std::string body = R"({"model":"ollama:bench","encoding_format":"base64",)"
                       R"("input":[")";
    for (int i = 0; i < kEmbeddings; i++) {
        body += i == 0 ? "a sentence" : "\",\"a sentence";
    }
    return body + "\"]}";
}

int64_t parse(const std::string &text)
{
    const int64_t begin = cpu_ns();
    json_error_t error;
    json_t *root = json_loadb(text.data(), text.size(), 0, &error);
    json_decref(root);
    return root == nullptr ? -1 : cpu_ns() - begin;
}

// Bytes of the answer, or 0.
size_t translate(const std::string &text, int64_t &took_ns)
{
    std::string body = request_body();
    json::BodyScanner scanner;
    Config config;
    config.backends[0].name = "ollama";
    const std::vector<Field> fields;
    UpstreamRequest upstream;
    ApiError error;
    if (!scanner.feed(body) || !scanner.finish()) {
        return 0;
    }
    const ClientRequest request = {
        body,   scanner.facts(), "ollama:bench",     "bench",   7, "req",
        fields, config,          config.backends[0], 1790000000};
    const std::unique_ptr<Adapter> adapter = make_ollama_embedding();
    ReplyHead head;
    head.status = 200;
    head.fields.push_back({"Content-Type", "application/json"});
    std::string out;
    if (!adapter->start(request, upstream, error)) {
        return 0;
    }
    const int64_t begin = cpu_ns();
    AdaptStatus status = adapter->reply_head(head);
    for (size_t at = 0; at < text.size() && status == AdaptStatus::More;
         at += kPiece) {
        status = adapter->reply_data(text.substr(at, kPiece), out);
    }
    if (status == AdaptStatus::More) {
        status = adapter->reply_end(out);
    }
    while (status == AdaptStatus::Long) {
        status = adapter->reply_long(out);
        if (status == AdaptStatus::More) {
            status = adapter->reply_end(out);
        }
    }
    took_ns = cpu_ns() - begin;
    return status == AdaptStatus::Done ? out.size() : 0;
}

int run()
{
    const Answers answers(1);
    const std::string &whole = answers.ollama_embed;
    const std::string text = whole.substr(whole.find("\r\n\r\n") + 4);
    int64_t least_parse = INT64_MAX;
    int64_t least_translate = INT64_MAX;
    // A vector is 4 bytes a float, of which 3 become 4.
    const size_t wanted = size_t{kEmbeddings} * (kDimensions * 4 * 4 / 3);
    for (int i = 0; i < kRounds; i++) {
        int64_t took_ns = 0;
        const int64_t parsed_ns = parse(text);
        if (parsed_ns < 0 || translate(text, took_ns) < wanted) {
            (void)fprintf(stderr, "bench_embedding: no answer\n");
            return 1;
        }
        least_parse = std::min(least_parse, parsed_ns);
        least_translate = std::min(least_translate, took_ns);
    }
    (void)printf("{\"parse_ns\": %lld, \"translate_ns\": %lld}\n",
                 static_cast<long long>(least_parse),
                 static_cast<long long>(least_translate));
    return 0;
}

} // namespace

} // namespace llmproxy

int main()
{
    llmproxy::json::init();
    return llmproxy::run();
}
