// Any request whose model is spliced, and any stream as its answer: nothing but
// the model's value changes in the one, nothing is added to the other but an
// error event at its end, and cuts change neither.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

using namespace llmproxy;

#include "../unit/feed.h"

namespace
{

// Takes the first byte off the model and looks at what is sent.
void check_request(std::string_view text)
{
    std::string body(text);
    json::BodyScanner scanner;
    if (!scanner.feed(body) || !scanner.finish()) {
        return;
    }
    const json::BodyFacts &facts = scanner.facts();
    const std::string_view sent = facts.model_text;
    if (facts.model_kind != json::MemberKind::String || sent.size() < 2 ||
        static_cast<unsigned char>(sent[0]) >= 0x80) {
        return;
    }
    const std::string_view model = sent.substr(1);
    const Config config;
    const std::vector<Field> fields;
    const ClientRequest request{body,      facts,  sent,
                                model,     1,      "req",
                                fields,    config, config.backends[1],
                                1790000000};
    UpstreamRequest upstream;
    ApiError err;
    const std::unique_ptr<Adapter> adapter =
        make_passthrough("/v1/x", EndMark::Done);
    if (!adapter->start(request, upstream, err) || upstream.body.size() != 1) {
        abort();
    }
    json::BodyScanner again;
    if (!again.feed(upstream.body[0]) || !again.finish() ||
        again.facts().model_text != model) {
        abort();
    }
    const std::string_view out = upstream.body[0];
    const json::Range now = again.facts().model;
    if (out.substr(0, now.begin) != text.substr(0, facts.model.begin) ||
        out.substr(now.end) != text.substr(facts.model.end)) {
        abort();
    }
}

struct Seen {
    AdaptStatus status = AdaptStatus::More;
    std::string passed;
    std::string body;
    std::string error;
};

Seen talk(std::string_view reply, size_t step)
{
    std::string body = R"({"model":"m","stream":true})";
    json::BodyScanner scanner;
    const Config config;
    const std::vector<Field> fields;
    UpstreamRequest upstream;
    ApiError err;
    const std::unique_ptr<Adapter> adapter =
        make_passthrough("/v1/x", EndMark::Done);
    if (!scanner.feed(body) || !scanner.finish()) {
        abort();
    }
    const ClientRequest request{
        body,   scanner.facts(),    "m",       "m", 0, "req", fields,
        config, config.backends[1], 1790000000};
    ReplyHead head;
    head.status = 200;
    head.fields.push_back({"Content-Type", "text/event-stream"});
    Seen seen;
    if (!adapter->start(request, upstream, err)) {
        abort();
    }
    seen.status = feed(*adapter, head, reply, step, step, seen.passed);
    seen.body = seen.passed;
    if (seen.status == AdaptStatus::Failed) {
        seen.error = api_error_body(adapter->error());
        adapter->append_error(adapter->error(), seen.body);
    }
    return seen;
}

void check_reply(std::string_view reply)
{
    const Seen whole = talk(reply, SIZE_MAX);
    const Seen bytes = talk(reply, 1);
    if (whole.status != bytes.status || whole.error != bytes.error ||
        !starts_with(reply, whole.passed) ||
        !starts_with(reply, bytes.passed)) {
        abort();
    }
    // Bytes that were sent one by one may hold the start of an error line.
    if (whole.status == AdaptStatus::Done && whole.body != bytes.body) {
        abort();
    }
    if (whole.body.size() > whole.passed.size() &&
        !ends_with(whole.body, "}\n\n")) {
        abort();
    }
    if ((whole.body == whole.passed) != (bytes.body == bytes.passed)) {
        abort();
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const std::string_view text(reinterpret_cast<const char *>(data), size);
    check_request(text);
    check_reply(text);
    return 0;
}
