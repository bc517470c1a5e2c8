// Any bytes as Ollama's answer to a chat and to a completion, cut in two ways:
// what the client gets is the same, is JSON, and is never both an error and the
// end of a stream. A blank behind each line, which sends the usual ones the
// other way through the adapter, changes nothing that the client would read.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include <jansson.h>

using namespace llmproxy;

#include "../unit/feed.h"

namespace
{

struct Seen {
    AdaptStatus status = AdaptStatus::More;
    std::string body;
    size_t answer = 0; // of the body; behind it is an event with the error
    std::string error;
    std::string code;
};

// Takes out what is random: the 24 digits behind each `prefix`.
std::string without_digits(std::string_view text, std::string_view prefix)
{
    std::string out;
    size_t found = 0;
    while ((found = text.find(prefix)) != std::string_view::npos) {
        out.append(text.substr(0, found));
        text.remove_prefix(found + prefix.size());
        text.remove_prefix(text.size() < 24 ? text.size() : 24);
    }
    return out.append(text);
}

std::string without_ids(std::string_view text)
{
    return without_digits(without_digits(text, "cmpl-"), "\"call_");
}

// One way to ask; "stream" is added to `members`.
struct Question {
    std::unique_ptr<Adapter> (*make)();
    const char *members;
};

Seen talk(const Question &question, std::string_view reply, bool stream,
          size_t step)
{
    std::string body = R"({"model":"m",)";
    body += question.members;
    body += stream ? R"(,"stream":true})" : "}";
    json::BodyScanner scanner;
    Config config;
    const std::vector<Field> fields;
    UpstreamRequest upstream;
    ApiError err;
    const std::unique_ptr<Adapter> adapter = question.make();
    if (!scanner.feed(body) || !scanner.finish()) {
        abort();
    }
    const ClientRequest request{
        body,   scanner.facts(),    "m",       "m", 0, "req", fields,
        config, config.backends[0], 1790000000};
    ReplyHead head;
    head.status = 200;
    head.fields.push_back({"Content-Type", "application/x-ndjson"});
    Seen seen;
    if (!adapter->start(request, upstream, err)) {
        abort();
    }
    seen.status = feed(*adapter, head, reply, step, step, seen.body);
    seen.answer = seen.body.size();
    if (seen.status == AdaptStatus::Failed) {
        const char *code = api_error_code(adapter->error());
        seen.code = code == nullptr ? "" : code;
        seen.error = api_error_body(adapter->error());
        if (!seen.body.empty()) {
            adapter->append_error(adapter->error(), seen.body);
        }
    }
    return seen;
}

void check_json(std::string_view text)
{
    json::Ptr root;
    Error ignored;
    if (json::parse(text, root, ignored)) {
        return;
    }
    // jansson cannot hold a key with a NUL, which a token may be.
    json::BodyScanner scanner;
    if (text.find("\\u0000\":") == std::string_view::npos ||
        !scanner.feed(text) || !scanner.finish()) {
        abort();
    }
}

// The data of the event at the front of `text`, which is taken off.
std::string_view take_event(std::string_view &text)
{
    const size_t end = text.find("\n\n");
    if (end == std::string_view::npos || !starts_with(text, "data: ")) {
        abort();
    }
    const std::string_view data = text.substr(6, end - 6);
    text.remove_prefix(end + 2);
    return data;
}

void check_events(std::string_view text)
{
    while (!text.empty()) {
        const std::string_view data = take_event(text);
        if (data != "[DONE]") {
            check_json(data);
        }
    }
}

void check_equal(std::string_view one, std::string_view other)
{
    json::Ptr root;
    json::Ptr other_root;
    Error ignored;
    if (one != other && json::parse(one, root, ignored) &&
        (!json::parse(other, other_root, ignored) ||
         json_equal(root.get(), other_root.get()) == 0)) {
        abort();
    }
}

std::string with_blanks(std::string_view reply)
{
    std::string out;
    while (!reply.empty()) {
        const std::string_view line = reply.substr(0, reply.find('\n'));
        out += line;
        out += line.empty() || line == "\r" ? "" : " ";
        reply.remove_prefix(line.size());
        if (!reply.empty()) {
            out += '\n';
            reply.remove_prefix(1);
        }
    }
    return out;
}

void check_other_way(const Question &question, std::string_view reply,
                     bool stream, const Seen &usual)
{
    const Seen other = talk(question, with_blanks(reply), stream, SIZE_MAX);
    if (usual.status != other.status || usual.code != other.code) {
        abort();
    }
    const std::string one = without_ids(usual.body.substr(0, usual.answer));
    const std::string two = without_ids(other.body.substr(0, other.answer));
    if (!stream) {
        check_equal(one, two);
        return;
    }
    std::string_view rest = one;
    std::string_view other_rest = two;
    while (!rest.empty() && !other_rest.empty()) {
        check_equal(take_event(rest), take_event(other_rest));
    }
    if (rest.size() != other_rest.size()) {
        abort();
    }
}

void ask_both_forms(const Question &question, std::string_view reply)
{
    for (const bool stream : {false, true}) {
        const Seen whole = talk(question, reply, stream, SIZE_MAX);
        const Seen bytes = talk(question, reply, stream, 1);
        if (whole.status != bytes.status || whole.error != bytes.error ||
            without_ids(whole.body) != without_ids(bytes.body)) {
            abort();
        }
        const bool done = whole.status == AdaptStatus::Done;
        if (stream) {
            check_events(whole.body);
            if (done != ends_with(whole.body, "data: [DONE]\n\n")) {
                abort();
            }
        } else if (done) {
            check_json(whole.body);
        }
        check_other_way(question, reply, stream, whole);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const Question questions[] = {
        {make_ollama_chat, R"("messages":[{"role":"user","content":"x"}])"},
        {make_ollama_completion, R"("prompt":"x","echo":true)"},
    };
    const std::string_view reply(reinterpret_cast<const char *>(data), size);
    for (const Question &question : questions) {
        ask_both_forms(question, reply);
    }
    return 0;
}
