#ifndef LLM_PROXY_TESTS_UNIT_OLLAMA_TALK_H
#define LLM_PROXY_TESTS_UNIT_OLLAMA_TALK_H

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <algorithm>
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

inline std::string read_file_at(const std::string &path)
{
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

inline std::string read_file(const std::string &name)
{
    return read_file_at(TEST_DATA "/" + name);
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

constexpr char kHi[] = R"("messages":[{"role":"user","content":"hi"}])";

// A client's chat, with more members.
inline std::string chat_with(const std::string &members)
{
    return std::string(R"({"model":"ollama:m",)") + kHi +
           (members.empty() ? "" : ",") + members + "}";
}

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

constexpr size_t kIdDigits = 24;

// An id that we made up ends in so many digits, at `at`.
inline bool is_made_up(std::string_view text, size_t at)
{
    const std::string_view mark = text.substr(at < 5 ? 0 : at - 5, 5);
    const std::string_view id = text.substr(at, kIdDigits);
    return (mark == "cmpl-" || mark == "call_") && id.size() == kIdDigits &&
           std::all_of(id.begin(), id.end(), is_hex);
}

// Ids that we made up become ID: they are random.
inline std::string without_ids(std::string_view text)
{
    std::string out;
    for (size_t at = 0; at < text.size();) {
        if (is_made_up(text, at)) {
            out += "ID";
            at += kIdDigits;
        } else {
            out += text[at++];
        }
    }
    return out;
}

inline bool equal_but_ids(std::string_view one, std::string_view other)
{
    if (one.size() != other.size()) {
        return false;
    }
    size_t at = 0;
    for (;;) {
        while (at < one.size() && one[at] == other[at]) {
            at++;
        }
        if (at == one.size()) {
            return true;
        }
        const size_t first = at < kIdDigits ? 0 : at - kIdDigits + 1;
        while (at > first && !is_made_up(one, at)) {
            at--;
        }
        if (!is_made_up(one, at) || !is_made_up(other, at)) {
            return false;
        }
        at += kIdDigits;
    }
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
    assert_int_equal(seen.error.no_retry, no_retry);
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
    if (!seen.begun) {
        print_error("%s: %s\n", about, api_error_body(seen.error).c_str());
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
    assert_json(read_events(body).get(), json::get(wanted, "events"), about);
}

// Two ways to the same: only our own ids may differ.
inline void assert_same(const Seen &seen, const Seen &wanted, const char *about)
{
    const bool same =
        seen.status == wanted.status && seen.begun == wanted.begun &&
        seen.error.no_retry == wanted.error.no_retry &&
        seen.usage.prompt == wanted.usage.prompt &&
        seen.usage.completion == wanted.usage.completion &&
        seen.shape.length == wanted.shape.length &&
        api_error_body(seen.error) == api_error_body(wanted.error) &&
        equal_but_ids(seen.body, wanted.body);
    if (!same) {
        print_error("%s\n seen   %s%s\n wanted %s%s\n", about,
                    seen.body.c_str(), api_error_body(seen.error).c_str(),
                    wanted.body.c_str(), api_error_body(wanted.error).c_str());
    }
    assert_true(same);
}

// Where a body is cut: anywhere; a large one at both ends and here and there.
// 0 stands for single bytes.
inline std::vector<size_t> cuts_of(size_t size)
{
    constexpr size_t every = 4096;
    constexpr size_t ends = 256;
    std::vector<size_t> out;
    const size_t step = size < every ? 1 : size / 61;
    for (size_t cut = 0; cut < size;
         cut += cut < ends || cut + ends >= size ? 1 : step) {
        out.push_back(cut);
    }
    return out;
}

// `path` is what must have been asked.
inline void run_example(Maker make, const json_t *example, const char *path)
{
    const char *about = json_string_value(json::get(example, "about"));
    const std::string request = json::dump(json::get(example, "request"));
    Client client(request);
    const json_t *upstream = json::get(example, "upstream");
    Reply reply;
    int64_t status = 0;
    json::get_int(example, "status", status);
    reply.status = static_cast<int>(status);
    reply.content_type = json::string_of(json::get(example, "content_type"));
    reply.body = json::string_of(json::get(example, "reply"));

    const Seen whole = talk(make, client, reply, kWhole);
    assert_int_equal(whole.refused, upstream == nullptr);
    check_answer(whole, json::get(example, "client"), about);
    if (upstream == nullptr) {
        return;
    }
    assert_string_equal(client.upstream.path.c_str(), path);
    assert_json(parse(client.upstream_body()).get(), upstream, about);
    std::string dropped(json::string_of(json::get(example, "dropped")));
    if (!dropped.empty()) {
        dropped = "X-Proxy-Dropped-Params: " + dropped + "\r\n";
    }
    assert_string_equal(whole.shape.extra.text().c_str(), dropped.c_str());
    for (const size_t cut : cuts_of(reply.body.size())) {
        Client again(request);
        assert_same(talk(make, again, reply, cut), whole, about);
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
            run_example(make, parse(read_file(folder + "/" + name)).get(),
                        path);
            count++;
        }
    }
    closedir(entries);
    return count;
}

} // namespace llmproxy

#endif
