#ifndef LLM_PROXY_TESTS_UNIT_OLLAMA_TALK_H
#define LLM_PROXY_TESTS_UNIT_OLLAMA_TALK_H

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <dirent.h>

#include <jansson.h>

#include "cmocka.hpp"
#include "feed.h"

// Exchanges with an Ollama that is a string, and what the client gets of them.
namespace llmproxy
{

constexpr size_t kWhole = SIZE_MAX;
constexpr int64_t kNow = 1790000000;

inline std::string read_file(const std::string &name)
{
    const std::string path = std::string(TEST_DATA "/") + name;
    FILE *file = fopen(path.c_str(), "rb");
    assert_non_null(file);
    std::string out;
    char buffer[4096];
    size_t got = 0;
    while ((got = fread(buffer, 1, sizeof buffer, file)) > 0) {
        out.append(buffer, got);
    }
    (void)fclose(file);
    return out;
}

inline json::Ptr parse(std::string_view text)
{
    json::Ptr out;
    Error err;
    if (!json::parse(text, out, err)) {
        print_error("%s: %.*s\n", err.message.c_str(),
                    static_cast<int>(text.size()), text.data());
    }
    assert_non_null(out.get());
    return out;
}

// A client's request and what the proxy knows about it.
struct Client {
    explicit Client(std::string text) : body(std::move(text))
    {
        config.backends[0].name = "ollama";
        assert_true(scanner.feed(body));
        assert_true(scanner.finish());
        const std::string_view sent = scanner.facts().model_text;
        assert_true(starts_with(sent, "ollama:"));
        model = std::string(sent.substr(7));
    }
    ClientRequest request(const std::vector<Field> &fields)
    {
        return {body,
                scanner.facts(),
                scanner.facts().model_text,
                model,
                7,
                "req-1",
                fields,
                config,
                config.backends[0],
                kNow};
    }
    bool start(Adapter &adapter, ApiError &err)
    {
        const std::vector<Field> fields;
        return adapter.start(request(fields), upstream, err);
    }
    std::string upstream_body() const
    {
        std::string out;
        for (const std::string_view piece : upstream.body) {
            out.append(piece);
        }
        return out;
    }

    std::string body;
    json::BodyScanner scanner;
    std::string model;
    Config config;
    UpstreamRequest upstream;
};

// The adapter's door.
using Maker = std::unique_ptr<Adapter> (*)();

// What Ollama answers.
struct Reply {
    int status = 200;
    std::string content_type = "application/x-ndjson";
    std::string body;
};

// What the client saw.
struct Seen {
    bool refused = false; // before anything was sent
    bool begun = false;   // a head with 200 went out
    AdaptStatus status = AdaptStatus::More;
    size_t put_off = 0; // steps for the helper
    ApiError error;
    std::string body; // an error event included
    AnswerShape shape;
    Usage usage;
};

// Cuts the reply at `cut`, or into single bytes where `cut` is 0.
inline Seen talk(Maker make, Client &client, const Reply &reply, size_t cut)
{
    Seen seen;
    const std::unique_ptr<Adapter> adapter = make();
    if (!client.start(*adapter, seen.error)) {
        seen.refused = true;
        return seen;
    }
    ReplyHead head;
    head.status = reply.status;
    head.fields.push_back({"Content-Type", reply.content_type});
    seen.status = feed(*adapter, head, reply.body, cut == 0 ? 1 : cut,
                       cut == 0 ? 1 : kWhole, seen.body, &seen.put_off);
    assert_int_not_equal(static_cast<int>(seen.status),
                         static_cast<int>(AdaptStatus::More));
    seen.begun = !seen.body.empty() || seen.status == AdaptStatus::Done;
    seen.error = adapter->error();
    if (seen.status == AdaptStatus::Failed && seen.begun) {
        assert_true(adapter->streaming());
        adapter->append_error(adapter->error(), seen.body);
    }
    seen.shape = adapter->shape();
    seen.usage = adapter->usage();
    return seen;
}

inline bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

// Ids that we made up become ID: they are random.
inline std::string without_ids(std::string_view text)
{
    std::string out;
    while (!text.empty()) {
        for (const std::string_view prefix : {"chatcmpl-", "cmpl-", "call_"}) {
            size_t digits = 0;
            while (starts_with(text, prefix) && digits < 24 &&
                   prefix.size() + digits < text.size() &&
                   is_hex(text[prefix.size() + digits])) {
                digits++;
            }
            if (digits == 24) {
                out.append(prefix).append("ID");
                text.remove_prefix(prefix.size() + digits);
            }
        }
        if (!text.empty()) {
            out += text[0];
            text.remove_prefix(1);
        }
    }
    return out;
}

// The events of a stream as a JSON array; [DONE] as a string.
inline json::Ptr read_events(const std::string &text)
{
    json::Ptr out(json_array());
    std::string_view rest = text;
    while (!rest.empty()) {
        const size_t end = rest.find("\n\n");
        assert_true(end != std::string_view::npos);
        const std::string_view event = rest.substr(0, end);
        assert_true(starts_with(event, "data: "));
        assert_true(event.find('\n') == std::string_view::npos);
        const std::string_view data = event.substr(6);
        json_array_append_new(out.get(), data == "[DONE]"
                                             ? json_string("[DONE]")
                                             : parse(data).release());
        rest.remove_prefix(end + 2);
    }
    return out;
}

inline void assert_json(const json_t *seen, const json_t *wanted,
                        const char *about)
{
    if (json_equal(seen, wanted) == 0) {
        print_error("%s\n seen   %s\n wanted %s\n", about,
                    json::dump(seen).c_str(), json::dump(wanted).c_str());
        fail();
    }
}

inline void check_answer(const Seen &seen, const json_t *wanted,
                         const char *about)
{
    int64_t number = 0;
    bool no_retry = false;
    assert_true(json::get_int(wanted, "status", number));
    json::get_bool(wanted, "no_retry", no_retry);
    const json_t *error = json::get(wanted, "error");
    if (error != nullptr) {
        assert_false(seen.begun);
        assert_int_equal(api_error_status(seen.error), number);
        assert_json(parse(api_error_body(seen.error)).get(), error, about);
        if (json::get_int(wanted, "retry_after", number)) {
            assert_int_equal(api_error_retry_after(seen.error), number);
        }
        return;
    }
    assert_true(seen.begun);
    assert_int_equal(seen.shape.status, number);
    const std::string body = without_ids(seen.body);
    const json_t *object = json::get(wanted, "json");
    assert_int_equal(seen.shape.sse, object == nullptr);
    if (object != nullptr) {
        assert_int_equal(seen.shape.length.value_or(0), seen.body.size());
        assert_json(parse(body).get(), object, about);
        return;
    }
    if (seen.status == AdaptStatus::Failed) {
        assert_int_equal(seen.error.no_retry, no_retry);
    }
    assert_json(read_events(body).get(), json::get(wanted, "events"), about);
}

// `name` is a file of the examples' folder; `path` what must have been asked.
inline void run_example(Maker make, const std::string &name, const char *path)
{
    const json::Ptr example = parse(read_file(name));
    const char *about = json_string_value(json::get(example.get(), "about"));
    Client client(json::dump(json::get(example.get(), "request")));
    const json_t *upstream = json::get(example.get(), "upstream");
    const json_t *answer = json::get(example.get(), "client");
    Reply reply;
    int64_t status = 0;
    json::get_int(example.get(), "status", status);
    reply.status = static_cast<int>(status);
    reply.content_type =
        json::string_of(json::get(example.get(), "content_type"));
    reply.body = json::string_of(json::get(example.get(), "reply"));

    const Seen whole = talk(make, client, reply, kWhole);
    assert_int_equal(whole.refused, upstream == nullptr);
    check_answer(whole, answer, about);
    if (upstream == nullptr) {
        return;
    }
    assert_string_equal(client.upstream.path.c_str(), path);
    assert_json(parse(client.upstream_body()).get(), upstream, about);
    std::string dropped(json::string_of(json::get(example.get(), "dropped")));
    if (!dropped.empty()) {
        dropped = "X-Proxy-Dropped-Params: " + dropped + "\r\n";
    }
    assert_string_equal(whole.shape.extra.text().c_str(), dropped.c_str());
    for (size_t cut = 0; cut < reply.body.size(); cut++) {
        Client again(json::dump(json::get(example.get(), "request")));
        check_answer(talk(make, again, reply, cut), answer, about);
    }
}

inline bool is_inside(std::string_view piece, const std::string &body)
{
    return piece.data() >= body.data() &&
           piece.data() + piece.size() <= body.data() + body.size();
}

// Bytes of the upstream body that are the client's own, uncopied.
inline size_t uncopied(const Client &client)
{
    size_t bytes = 0;
    for (const std::string_view piece : client.upstream.body) {
        bytes += is_inside(piece, client.body) ? piece.size() : 0;
    }
    return bytes;
}

// Runs all examples of a folder of tests/data; returns how many there are.
inline size_t run_examples(Maker make, const std::string &folder,
                           const char *path)
{
    DIR *entries = opendir((std::string(TEST_DATA "/") + folder).c_str());
    assert_non_null(entries);
    size_t count = 0;
    const struct dirent *entry = nullptr;
    while ((entry = readdir(entries)) != nullptr) {
        const std::string name = entry->d_name;
        if (ends_with(name, ".json")) {
            run_example(make, folder + "/" + name, path);
            count++;
        }
    }
    closedir(entries);
    return count;
}

} // namespace llmproxy

#endif
