// The first byte says what the rest is: a client's body, which is refused as a
// client's error or becomes JSON for Ollama; or Ollama's answer, which cut in
// two ways gives the client the same, and that is JSON or a failure.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/json/value.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

using namespace llmproxy;

#include "../unit/feed.h"

namespace
{

void check(bool ok)
{
    if (!ok) {
        abort();
    }
}

void check_json(std::string_view text)
{
    json::Ptr root;
    Error ignored;
    check(json::parse(text, root, ignored));
}

// False: `body` is refused, by the scanner or by the adapter.
bool start(std::string &body, Adapter &adapter, std::string &sent)
{
    json::BodyScanner scanner;
    if (!scanner.feed(body) || !scanner.finish()) {
        return false;
    }
    Config config;
    config.backends[0].name = "ollama";
    const std::vector<Field> fields;
    const ClientRequest request{
        body,   scanner.facts(), "ollama:m",         "m",       7, "req",
        fields, config,          config.backends[0], 1790000000};
    UpstreamRequest upstream;
    ApiError err;
    if (!adapter.start(request, upstream, err)) {
        const int status = api_error_status(err);
        check(status == 400 || status == 413);
        return false;
    }
    for (const std::string_view piece : upstream.body) {
        sent.append(piece);
    }
    return true;
}

void check_request(std::string body)
{
    std::string sent;
    if (start(body, *make_ollama_embedding(), sent)) {
        check_json(sent);
    }
}

struct Seen {
    AdaptStatus status = AdaptStatus::More;
    std::string body;
    std::string error;
};

Seen talk(std::string_view reply, bool base64, size_t step)
{
    std::string body = R"({"model":"m","input":["x","y"],"encoding_format":)";
    body += base64 ? R"("base64"})" : R"("float"})";
    const std::unique_ptr<Adapter> adapter = make_ollama_embedding();
    std::string sent;
    check(start(body, *adapter, sent));
    ReplyHead head;
    head.status = 200;
    head.fields.push_back({"Content-Type", "application/json"});
    Seen seen;
    seen.status = feed(*adapter, head, reply, step, step, seen.body);
    if (seen.status == AdaptStatus::Failed) {
        check(seen.body.empty());
        seen.error = api_error_body(adapter->error());
    } else {
        check(adapter->shape().length == seen.body.size());
    }
    return seen;
}

void check_reply(std::string_view reply)
{
    for (const bool base64 : {false, true}) {
        const Seen whole = talk(reply, base64, SIZE_MAX);
        const Seen bytes = talk(reply, base64, 1);
        check(whole.status == bytes.status && whole.body == bytes.body &&
              whole.error == bytes.error);
        if (whole.status == AdaptStatus::Done) {
            check_json(whole.body);
        }
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const std::string_view rest(reinterpret_cast<const char *>(data) + 1,
                                size - 1);
    if (data[0] % 2 == 0) {
        check_request(std::string(rest));
    } else {
        check_reply(rest);
    }
    return 0;
}
