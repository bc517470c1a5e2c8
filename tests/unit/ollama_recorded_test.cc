// Replays what a real Ollama answered, all of its 319 recorded answers to
// /api/chat, /api/generate and /api/embed, to clients that asked for a stream
// or for a whole answer, for floats or for base64; cut anywhere. What they must
// get is in the file that the command line names, by the reference in
// tests/reference/ollama_answers.py. No recording is left out: those of a GET
// and of an OPTIONS to /api/chat are answers, too, that a wrong base URL gives.

#include "llm_proxy/adapt/adapter.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <cstdio>
#include <set>
#include <string>
#include <string_view>

#include <jansson.h>

#include "cmocka.hpp"
#include "ollama_talk.h"

using namespace llmproxy;

namespace
{

const char *examples_path = nullptr;

// How many answers of each kind there are.
struct Tally {
    size_t whole = 0;  // one object
    size_t stream = 0; // events up to [DONE]
    size_t broken = 0; // events and an error
    size_t refused = 0;
};

void count(const json_t *client, Tally &tally)
{
    if (json::get(client, "error") != nullptr) {
        tally.refused++;
    } else if (json::get(client, "json") != nullptr) {
        tally.whole++;
    } else {
        const json_t *events = json::get(client, "events");
        const json_t *last =
            json_array_get(events, json_array_size(events) - 1);
        (json_is_string(last) ? tally.stream : tally.broken)++;
    }
}

void replay(const char *path, Maker make, const Tally &wanted)
{
    Tally tally;
    const std::string text = read_file_at(examples_path);
    for (const std::string_view line : split_list(text, '\n')) {
        const json::Ptr example = parse(line);
        if (json::string_of(json::get(example.get(), "path")) == path) {
            run_example(make, example.get(), path);
            count(json::get(example.get(), "client"), tally);
        }
    }
    assert_int_equal(tally.whole, wanted.whole);
    assert_int_equal(tally.stream, wanted.stream);
    assert_int_equal(tally.broken, wanted.broken);
    assert_int_equal(tally.refused, wanted.refused);
}

void recorded_chats(void **)
{
    replay("/api/chat", make_ollama_chat, {108, 132, 9, 191});
}

void recorded_completions(void **)
{
    replay("/api/generate", make_ollama_completion, {19, 26, 2, 36});
}

void recorded_embeddings(void **)
{
    replay("/api/embed", make_ollama_embedding, {36, 0, 0, 40});
}

// The reference leaves none out.
void every_recording_is_replayed(void **)
{
    std::set<std::string> wanted;
    for (const char *name : {"chat", "generate", "embed"}) {
        const std::string text =
            read_file(std::string("recorded/") + name + ".jsonl");
        for (const std::string_view line : split_list(text, '\n')) {
            wanted.emplace(
                json::string_of(json::get(parse(line).get(), "name")));
        }
    }
    assert_int_equal(wanted.size(), 319);
    std::set<std::string> seen;
    const std::string text = read_file_at(examples_path);
    for (const std::string_view line : split_list(text, '\n')) {
        const json::Ptr example = parse(line);
        const std::string_view about =
            json::string_of(json::get(example.get(), "about"));
        seen.emplace(about.substr(0, about.find(' ')));
    }
    assert_true(seen == wanted);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s EXAMPLES\n", argv[0]);
        return 2;
    }
    examples_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recording_is_replayed),
        cmocka_unit_test(recorded_chats),
        cmocka_unit_test(recorded_completions),
        cmocka_unit_test(recorded_embeddings),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
