// Two ways through a line of Ollama's, one result: what looks at the bytes of
// the usual lines, and what makes a tree of any. Lines are made at random, from
// a seed, or recorded; each is also written so that it says the same and is
// not the usual one. The client must get the same JSON, and the same bytes
// where the line holds no \u and no \/, whatever the cuts.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <jansson.h>

#include "cmocka.hpp"
#include "ollama_lines.h"
#include "ollama_talk.h"

using namespace llmproxy;

namespace
{

struct Endpoint {
    LineKind kind;
    Maker make;
    std::vector<std::string> streams; // requests
    std::vector<std::string> wholes;
};

const Endpoint &chats()
{
    static const Endpoint chat = {
        LineKind::Chat,
        make_ollama_chat,
        {chat_with(R"("stream":true)"),
         chat_with(R"("stream":true,"stream_options":{"include_usage":true})")},
        {chat_with("")}};
    return chat;
}

const Endpoint &completions()
{
    static const std::string begin = R"({"model":"ollama:m","prompt":"hi")";
    static const Endpoint completion = {
        LineKind::Generate,
        make_ollama_completion,
        {begin + R"(,"stream":true,"stream_options":{"include_usage":true}})",
         begin + R"(,"stream":true,"echo":true})",
         begin + R"(,"stream":true,"logprobs":1})"},
        {begin + "}", begin + R"(,"echo":true})"}};
    return completion;
}

Seen ask(const Endpoint &endpoint, const std::string &request,
         const std::string &body, size_t cut)
{
    Client client(request);
    Reply reply;
    reply.body = body;
    return talk(endpoint.make, client, reply, cut);
}

// The events without the error at their end: its text may name a column.
std::string without_error(const Seen &seen)
{
    if (seen.status != AdaptStatus::Failed || !seen.begun) {
        return seen.body;
    }
    const std::string error = api_error_event(seen.error);
    assert_true(ends_with(seen.body, error));
    return seen.body.substr(0, seen.body.size() - error.size());
}

bool is_escaped(const std::string &line)
{
    return line.find("\\u") != std::string::npos ||
           line.find("\\/") != std::string::npos;
}

void assert_equal_answers(const Seen &one, const Seen &other, bool bytes,
                          const std::string &about)
{
    const bool same = one.status == other.status && one.begun == other.begun &&
                      one.usage.prompt == other.usage.prompt &&
                      one.usage.completion == other.usage.completion &&
                      one.error.no_retry == other.error.no_retry &&
                      one.error.kind == other.error.kind;
    if (!same) {
        print_error("%s\n%s\n%s\n%s\n%s\n", about.c_str(), one.body.c_str(),
                    other.body.c_str(), one.error.message.c_str(),
                    other.error.message.c_str());
    }
    assert_true(same);
    const std::string body = without_error(one);
    const std::string other_body = without_error(other);
    if (bytes) {
        if (!equal_but_ids(body, other_body)) {
            print_error("%s\n%s\n%s\n", about.c_str(), body.c_str(),
                        other_body.c_str());
        }
        assert_true(equal_but_ids(body, other_body));
    } else if (one.shape.sse) {
        assert_json(read_events(without_ids(body)).get(),
                    read_events(without_ids(other_body)).get(), about.c_str());
    } else if (one.begun) {
        assert_json(parse(without_ids(body)).get(),
                    parse(without_ids(other_body)).get(), about.c_str());
    }
}

// How a line stands in an answer.
struct Place {
    std::string request;
    std::string before;
    std::string after;
};

// The tokens of a completion say where they stand in the text.
std::string stop_line(LineKind kind)
{
    return std::string(R"({"model":"m","created_at":"2026-09-01T08:31:00Z",)") +
           (kind == LineKind::Chat
                ? R"("message":{"role":"assistant","content":"e"})"
                : R"("response":"e","logprobs":[{"token":"e","logprob":-1}])") +
           R"(,"done":true,"done_reason":"stop"})"
           "\n";
}

std::string more_line(LineKind kind)
{
    return as_usual(line_with(kind, "p", false)) + '\n';
}

std::vector<Place> places(const Endpoint &endpoint, bool last)
{
    std::vector<Place> out;
    const std::string stop = last ? "\n" : '\n' + stop_line(endpoint.kind);
    for (const std::string &request : endpoint.streams) {
        out.push_back({request, "", stop});
        out.push_back({request, more_line(endpoint.kind), stop});
    }
    for (const std::string &request : endpoint.wholes) {
        if (last) {
            out.push_back({request, "", ""});
        }
    }
    return out;
}

std::string in_place(const Place &place, const std::string &line)
{
    return place.before + line + place.after;
}

// In every place: all of them whole.
void assert_ways(const Endpoint &endpoint, bool last, const std::string &usual,
                 const std::vector<std::string> &others)
{
    const bool bytes = !is_escaped(usual);
    for (const Place &place : places(endpoint, last)) {
        const Seen fast =
            ask(endpoint, place.request, in_place(place, usual), kWhole);
        for (const std::string &other : others) {
            const Seen slow =
                ask(endpoint, place.request, in_place(place, other), kWhole);
            assert_equal_answers(fast, slow, bytes, usual + '\n' + other);
        }
    }
}

// Single bytes, then every cut of the line that is `step` from the one before.
void assert_cuts(const Endpoint &endpoint, const Place &place,
                 const std::string &line, size_t step)
{
    const std::string body = in_place(place, line);
    const Seen whole = ask(endpoint, place.request, body, kWhole);
    assert_same(ask(endpoint, place.request, body, 0), whole, line.c_str());
    for (size_t cut = 1; cut <= line.size(); cut += step) {
        assert_same(
            ask(endpoint, place.request, body, place.before.size() + cut),
            whole, line.c_str());
    }
}

// The usual line at every cut, the other one here and there: a line is put
// together before anything looks at it. Takes the places in turn.
void assert_cuts_of_both(const Endpoint &endpoint, bool last,
                         const std::string &usual, const std::string &other,
                         size_t turn)
{
    const std::vector<Place> all = places(endpoint, last);
    const Place &place = all[turn % all.size()];
    assert_cuts(endpoint, place, usual, 1);
    assert_cuts(endpoint, place, other, 1 + other.size() / 40);
}

// Any text that is no end of a string: the client gets what jansson reads, or
// an error where jansson refuses it.
void assert_true_to_jansson(const Endpoint &endpoint, Random &random)
{
    std::string text;
    const size_t size = random.below(8);
    for (size_t i = 0; i < size; i++) {
        text += random.once_in(12) ? random.of(kBadBits) : random.of(kGoodBits);
    }
    Error ignored;
    json::Ptr list;
    const bool valid = json::parse_lenient("[\"" + text + "\"]", list, ignored);
    const Line line = line_with(endpoint.kind, text, false);
    const Seen seen =
        ask(endpoint, endpoint.streams[0],
            as_usual(line) + '\n' + stop_line(endpoint.kind), kWhole);
    assert_int_equal(seen.begun, valid);
    if (!valid) {
        assert_int_equal(seen.error.kind, ApiErrorKind::BackendBadResponse);
        return;
    }
    std::string said;
    const json::Ptr events = read_events(seen.body);
    for (const json_t *event : json::elements(events.get())) {
        const json_t *choice = json_array_get(json::get(event, "choices"), 0);
        const json_t *delta = json::get(choice, "delta");
        said += json::string_of(delta != nullptr ? json::get(delta, "content")
                                                 : json::get(choice, "text"));
    }
    const std::string_view wanted =
        json::string_of(json_array_get(list.get(), 0));
    assert_true(said == std::string(wanted) + 'e');
}

bool goes_fast(const Endpoint &endpoint, const std::string &line, bool last)
{
    CommonLine common;
    OllamaLine end;
    return last ? read_common_end(line, endpoint.kind, end)
                : read_common_line(line, endpoint.kind, common);
}

// How many of the generated lines went fast.
size_t run_generated(const Endpoint &endpoint, bool last, size_t rounds,
                     uint32_t seed)
{
    Random random(seed);
    size_t fast = 0;
    for (size_t round = 0; round < rounds; round++) {
        const Line line = any_line(random, endpoint.kind, last);
        const std::string usual = as_usual(line);
        const std::vector<std::string> others = {
            with_blank(usual), with_blanks(random, line),
            in_another_order(random, line), with_a_double(random, line),
            with_a_stranger(random, line)};
        for (const std::string &other : others) {
            assert_false(goes_fast(endpoint, other, last));
        }
        fast += goes_fast(endpoint, usual, last) ? 1 : 0;
        assert_ways(endpoint, last, usual, others);
        assert_cuts_of_both(endpoint, last, usual,
                            others[round % others.size()], round);
        assert_true_to_jansson(endpoint, random);
    }
    return fast;
}

void generated_lines_of_chats(void **)
{
    assert_int_equal(run_generated(chats(), false, 100, 1), 63);
}

void generated_ends_of_chats(void **)
{
    assert_int_equal(run_generated(chats(), true, 100, 2), 40);
}

void generated_lines_of_completions(void **)
{
    assert_int_equal(run_generated(completions(), false, 100, 3), 66);
}

void generated_ends_of_completions(void **)
{
    assert_int_equal(run_generated(completions(), true, 100, 4), 26);
}

// -- recorded lines ------------------------------------------------------

struct Count {
    size_t lines = 0;
    size_t fast = 0;
    size_t ends = 0;
    size_t fast_ends = 0;
};

std::string without_digits(std::string text)
{
    text.erase(std::remove_if(text.begin(), text.end(), is_digit), text.end());
    return text;
}

// Every line of every answer that was not refused.
Count run_recorded(const Endpoint &endpoint, const char *file)
{
    Count count;
    std::set<std::string> shapes;
    const std::string text = read_file(file);
    for (const std::string_view record_text : split_list(text, '\n')) {
        const json::Ptr record = parse(record_text);
        int64_t status = 0;
        json::get_int(record.get(), "status", status);
        if (status != 200) {
            continue;
        }
        const std::string_view body =
            json::string_of(json::get(record.get(), "body"));
        for (const std::string_view part : split_list(body, '\n')) {
            const std::string line(part);
            const bool last = line.find(R"("done":true)") != std::string::npos;
            assert_false(goes_fast(endpoint, with_blank(line), last));
            (last ? count.ends : count.lines)++;
            if (goes_fast(endpoint, line, last)) {
                (last ? count.fast_ends : count.fast)++;
            }
            assert_ways(endpoint, last, line, {with_blank(line)});
            // Those that differ in numbers only are cut once.
            if (shapes.insert(without_digits(line)).second) {
                assert_cuts_of_both(endpoint, last, line, with_blank(line),
                                    shapes.size());
            }
        }
    }
    return count;
}

void assert_count(const Count &seen, const Count &wanted)
{
    assert_int_equal(seen.lines, wanted.lines);
    assert_int_equal(seen.fast, wanted.fast);
    assert_int_equal(seen.ends, wanted.ends);
    assert_int_equal(seen.fast_ends, wanted.fast_ends);
}

void recorded_lines_of_chats(void **)
{
    assert_count(run_recorded(chats(), "recorded/chat.jsonl"),
                 {200, 158, 132, 113});
}

void recorded_lines_of_completions(void **)
{
    assert_count(run_recorded(completions(), "recorded/generate.jsonl"),
                 {32, 24, 26, 3});
}

// -- decisions -----------------------------------------------------------

// Content or arguments of a line that are decided here once and for all.
void what_a_line_may_hold(void **)
{
    const auto nested = [](size_t depth) {
        return std::string(depth, '[') + std::string(depth, ']');
    };
    const auto arguments = [](const std::string &value) {
        return R"({"message":{"role":"assistant","content":"","tool_calls":[)"
               R"({"function":{"name":"f","arguments":{"a":)" +
               value + R"(}}}]},"done":false})";
    };
    const auto content = [](const std::string &text) {
        return R"({"message":{"role":"assistant","content":")" + text +
               R"("},"done":false})";
    };
    const auto beside = [](const std::string &value) {
        return R"({"message":{"content":"a"},"x":)" + value + '}';
    };
    const struct {
        std::string line;
        std::string said; // "refused": that
    } cases[] = {
        {content("\xff"), "refused"},
        {content("\xed\xa0\x80"), "refused"},
        {content(R"(\ud83d)"), "refused"},
        {content(R"(\ude00)"), "refused"},
        {content(R"(\ud83d\ude00)"), "\xf0\x9f\x98\x80"},
        {content("\xe2\x80\xa8\x7f"), "\xe2\x80\xa8\x7f"},
        {content(R"(\u2028\u007f)"), "\xe2\x80\xa8\x7f"},
        {content(R"(a\u0000b)"), std::string("a\0b", 3)},
        {content(std::string("a\0b", 3)), "refused"},
        {R"({"message":{"content":"a","content":"b"},"done":false})", "b"},
        {R"({"message":{"content":"a"},"message":{"content":"b"}})", "b"},
        {R"({"message":{"content":"a"},"done":true,"done":false})", "a"},
        {R"({"a\u0000":1,"message":{"content":"a"}})", "refused"},
        {beside(nested(2047)), "a"},
        {beside(nested(2048)), "refused"},
        {beside("18446744073709551616"), "a"},
        {beside("1e400"), "refused"},
        {arguments("9007199254740993"), R"({"a":9007199254740993})"},
        {arguments("9223372036854775807"), R"({"a":9223372036854775807})"},
        {arguments("-9223372036854775809"), R"({"a":-9223372036854775809})"},
        {arguments("18446744073709551616,\"b\":\""
                   R"(\ud83d\ude00")"),
         "{\"a\":18446744073709551616,\"b\":\"\xf0\x9f\x98\x80\"}"},
        {arguments("1,\"a\":2"), R"({"a":2})"},
        {arguments("1e400"), "refused"},
        {arguments(nested(2042)), "{\"a\":" + nested(2042) + '}'},
        {arguments(nested(2043)), "refused"},
    };
    for (const auto &row : cases) {
        const Seen seen =
            ask(chats(), chats().streams[0],
                row.line + '\n' + stop_line(LineKind::Chat), kWhole);
        assert_int_equal(seen.begun, row.said != "refused");
        if (!seen.begun) {
            assert_int_equal(seen.error.kind, ApiErrorKind::BackendBadResponse);
            continue;
        }
        assert_true(seen.status == AdaptStatus::Done);
        const json::Ptr events = read_events(seen.body);
        const json_t *choice = json_array_get(
            json::get(json_array_get(events.get(), 0), "choices"), 0);
        const json_t *delta = json::get(choice, "delta");
        const json_t *call = json_array_get(json::get(delta, "tool_calls"), 0);
        assert_true(row.said ==
                    json::string_of(call == nullptr
                                        ? json::get(delta, "content")
                                        : json::get(json::get(call, "function"),
                                                    "arguments")));
    }
}

// -- long lines ----------------------------------------------------------

void assert_long_line(const Endpoint &endpoint, const std::string &text,
                      bool last, bool is_long)
{
    const std::string usual = as_usual(line_with(endpoint.kind, text, last));
    assert_true(goes_fast(endpoint, usual, last));
    const std::string after = last ? "\n" : '\n' + stop_line(endpoint.kind);
    const std::string &request = endpoint.streams[0];
    const Seen fast = ask(endpoint, request, usual + after, kWhole);
    assert_true(fast.status == AdaptStatus::Done);
    assert_int_equal(fast.put_off, last || is_long ? 1 : 0);
    const Seen slow = ask(endpoint, request, with_blank(usual) + after, kWhole);
    assert_int_equal(slow.put_off, 1);
    assert_equal_answers(fast, slow, false, "long");
    for (size_t cut = 1; cut < usual.size(); cut += 30011) {
        assert_same(ask(endpoint, request, usual + after, cut), fast, "long");
    }
}

// In the usual form they are copied so soon that only the largest are long
// steps, in another one all are.
void lines_up_to_a_mebibyte(void **)
{
    Random random(5);
    std::string text;
    for (const size_t size : {size_t{1} << 18, size_t{1} << 20}) {
        while (text.size() < size) {
            const char *bit = random.of(kGoodBits);
            text += strncmp(bit, "\\ud83d", 6) == 0 ? "" : bit;
        }
        const bool is_long = size == size_t{1} << 20;
        for (const Endpoint *endpoint : {&chats(), &completions()}) {
            for (const bool last : {false, true}) {
                assert_long_line(*endpoint, text, last, is_long);
            }
        }
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_lines_of_chats),
        cmocka_unit_test(generated_ends_of_chats),
        cmocka_unit_test(generated_lines_of_completions),
        cmocka_unit_test(generated_ends_of_completions),
        cmocka_unit_test(recorded_lines_of_chats),
        cmocka_unit_test(recorded_lines_of_completions),
        cmocka_unit_test(what_a_line_may_hold),
        cmocka_unit_test(lines_up_to_a_mebibyte),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
