// Any body that the scanner lets through, as a chat and as a completion: the
// adapter refuses it with a client error, or writes a request to Ollama that is
// JSON.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/json/value.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

using namespace llmproxy;

namespace
{

void translate(Adapter &adapter, std::string &body,
               const json::BodyFacts &facts)
{
    Config config;
    config.backends[0].name = "ollama";
    const std::vector<Field> fields;
    const ClientRequest request{
        body,   facts,  "ollama:m",         "m",       7, "req",
        fields, config, config.backends[0], 1790000000};
    UpstreamRequest upstream;
    ApiError err;
    if (!adapter.start(request, upstream, err)) {
        const int status = api_error_status(err);
        if (status != 400 && status != 413) {
            abort();
        }
        return;
    }
    std::string sent;
    for (const std::string_view piece : upstream.body) {
        sent.append(piece);
    }
    json::Ptr root;
    Error ignored;
    bool flag = false;
    if (!json::parse(sent, root, ignored) ||
        !json::get_bool(root.get(), "stream", flag) ||
        flag != adapter.streaming()) {
        abort();
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    std::string body(reinterpret_cast<const char *>(data), size);
    json::BodyScanner scanner;
    if (!scanner.feed(body) || !scanner.finish()) {
        return 0;
    }
    translate(*make_ollama_chat(), body, scanner.facts());
    translate(*make_ollama_completion(), body, scanner.facts());
    return 0;
}
