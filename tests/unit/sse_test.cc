// http/sse: marks, errors and event ends, in every cut.

#include "llm_proxy/http/sse.h"

#include <string>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

// Follows two parts of `text`; each stop leaves a mark in what was passed on:
// '$' for the end mark, '!' for an error line.
std::string follow(const std::string &text, size_t cut, EndMark mark)
{
    SseTracker tracker(mark);
    std::string out;
    for (const std::string &part : {text.substr(0, cut), text.substr(cut)}) {
        std::string_view in = part;
        while (!in.empty()) {
            size_t used = 0;
            const SseTracker::Stop stop = tracker.follow(in, used);
            out += in.substr(0, used);
            in.remove_prefix(used);
            if (stop == SseTracker::Stop::EndOfMark) {
                out += '$';
            } else if (stop == SseTracker::Stop::ErrorLine) {
                out += '!';
            } else {
                assert_true(in.empty());
            }
        }
    }
    return out + (tracker.at_event_end() ? "|" : "...") +
           std::to_string(tracker.events());
}

void check(const std::string &text, const std::string &expected,
           EndMark mark = EndMark::Done)
{
    for (size_t cut = 0; cut <= text.size(); cut++) {
        const std::string said = follow(text, cut, mark);
        if (said != expected) {
            print_error("cut at %zu: %s\nwanted: %s\n", cut, said.c_str(),
                        expected.c_str());
            fail();
        }
    }
}

} // namespace

static void finds_the_end_mark(void **)
{
    check("data: {\"a\":1}\n\ndata: [DONE]\n\n",
          "data: {\"a\":1}\n\ndata: [DONE]\n\n$|2");
    check("data:[DONE]\r\n\r\nx: y\n", "data:[DONE]\r\n\r\n$x: y\n...1");
    check("data: [DONE]\n", "data: [DONE]\n...0");
    check("data: [DONE]\n\n", "data: [DONE]\n\n|1", EndMark::None);
}

static void a_mark_counts_only_as_a_whole_line(void **)
{
    for (const char *text :
         {"data: {\"text\":\"data: [DONE]\"}\n\n", " data: [DONE]\n\n",
          "data: [DONE] \n\n", "data: [DONE]x\n\n", "xdata: [DONE]\n\n",
          "data: [DONE\n\n", "data: [DONE]\rx\n\n"}) {
        check(text, std::string(text) + "|1");
    }
}

static void finds_the_ends_of_responses(void **)
{
    for (const char *name : {"completed", "incomplete", "failed"}) {
        const std::string text =
            std::string("event: response.") + name + "\ndata: {\"type\":1}\n\n";
        check(text, text + "$|1", EndMark::Responses);
    }
    const std::string other = "event: response.completed.not\ndata: 1\n\n"
                              "event: response.created\ndata: [DONE]\n\n";
    check(other, other + "|2", EndMark::Responses);
}

static void stops_right_behind_an_error_prefix(void **)
{
    check("data: {\"error\":{\"message\":\"x\"}}\n\n",
          "data: {\"error\"!:{\"message\":\"x\"}}\n\n|1");
    check("data:{\"error\"}\n\n", "data:{\"error\"!}\n\n|1");
    check("error: x\n\n", "error:! x\n\n|1");
    check(": c\ndata: {\"error\"", ": c\ndata: {\"error\"!...0");
}

static void errors_count_only_at_a_lines_start(void **)
{
    for (const char *text :
         {"data: {\"text\":\"data: {\\\"error\\\"\"}\n\n",
          "data: {\"errors\":1}\n\n", "data:  {\"error\"\n\n",
          "data: { \"error\"\n\n", "Error: x\n\n"}) {
        check(text, std::string(text) + "|1");
    }
}

static void comments_are_no_events(void **)
{
    check(": keep-alive\n\n", ": keep-alive\n\n|0");
    check(": keep-alive\n", ": keep-alive\n...0");
    check("\n\n\n", "\n\n\n|0");
    check("", "|0");
    check("event: ping\n\n: c\ndata: x\n\n",
          "event: ping\n\n: c\ndata: x\n\n|2");
}

static void an_event_ends_with_a_blank_line(void **)
{
    check("data: x\r\n\r\n", "data: x\r\n\r\n|1");
    check("data: x\r\n\r", "data: x\r\n\r...0");
    check("data: x\n\ndata", "data: x\n\ndata...1");
    check("data: x\n\r\r\n", "data: x\n\r\r\n...0");
    const std::string longer = "data: " + std::string(300, 'x') + "\n\n";
    check(longer, longer + "|1");
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_end_mark),
        cmocka_unit_test(a_mark_counts_only_as_a_whole_line),
        cmocka_unit_test(finds_the_ends_of_responses),
        cmocka_unit_test(stops_right_behind_an_error_prefix),
        cmocka_unit_test(errors_count_only_at_a_lines_start),
        cmocka_unit_test(comments_are_no_events),
        cmocka_unit_test(an_event_ends_with_a_blank_line),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
