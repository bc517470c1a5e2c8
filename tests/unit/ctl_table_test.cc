// ctl: tables, numbers and times for people, and what fits on a screen.

#include "llm_proxy/json/value.h"

#include <string>

#include "../../src/ctl/screen.h"
#include "../../src/ctl/table.h"
#include "../../src/ctl/text.h"
#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

std::string joined(const Lines &lines)
{
    std::string text;
    for (const std::string &line : lines) {
        text += line + "\n";
    }
    return text;
}

Lines shown(ControlCommand command, const char *text)
{
    json::Ptr answer;
    Error err;
    if (!json::parse(text, answer, err)) {
        fail_msg("%s", err.message.c_str());
    }
    return show(command, answer.get());
}

} // namespace

static void bytes_are_three_digits_and_a_unit(void **)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0"},
        {999, "999"},
        {1000, "0.9k"},
        {1024, "1.0k"},
        {1536, "1.5k"},
        {10239, "9.9k"},
        {10240, "10k"},
        {1022976, "999k"},
        {1024000, "0.9M"},
        {268435456, "256M"},
        {UINT64_MAX, "15E"},
    };
    for (const auto &c : cases) {
        assert_string_equal(short_bytes(c.bytes).c_str(), c.text);
    }
}

static void times_have_two_units_at_most(void **)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {-5, "0.0s"},
        {0, "0.0s"},
        {1250, "1.2s"},
        {9999, "9.9s"},
        {10000, "10s"},
        {59999, "59s"},
        {60000, "1m00s"},
        {303000, "5m03s"},
        {3600000, "1h00m"},
        {86399999, "23h59m"},
        {86400000, "1d00h"},
        {1051200000, "12d04h"},
        {INT64_MAX, "106751991167d07h"},
    };
    for (const auto &c : cases) {
        assert_string_equal(short_time(c.ms).c_str(), c.text);
    }
}

static void nothing_moves_the_terminal(void **)
{
    std::string all;
    for (int byte = 0; byte < 256; byte++) {
        all += static_cast<char>(byte);
    }
    for (const char c : printable(all)) {
        assert_true(c >= 0x20 && c <= 0x7e);
    }
    assert_string_equal(printable("a\x1b[2J\n\xc2\x9b~\\").c_str(),
                        "a\\x1b[2J\\x0a\\xc2\\x9b~\\");
}

static void columns_are_as_wide_as_their_widest(void **)
{
    Table table({{"NAME", false}, {"N", true}, {"END", false}});
    table.add({"a", "1", ""});
    table.add({"longer", "1000", "x\ty"});
    assert_int_equal(table.rows(), 2);
    assert_string_equal(joined(table.lines()).c_str(),
                        "NAME       N  END\n"
                        "a          1  -\n"
                        "longer  1000  x\\x09y\n");
}

static void documents_become_lines(void **)
{
    assert_string_equal(
        joined(shown(ControlCommand::Tokens,
                     "{\"tokens\":[{\"label\":\"a\",\"running\":1,"
                     "\"concurrency\":2,\"minute\":{\"used\":3,\"limit\":10,"
                     "\"reset_ms\":1500},\"day\":{\"used\":null,\"limit\":"
                     "null,\"reset_ms\":0},\"disabled\":true,"
                     "\"expires\":\"2030-01-02T03:04:05.678Z\"}]}"))
            .c_str(),
        "LABEL  RUNNING  MINUTE  RESET  DAY  RESET  STATE\n"
        "a          1/2    3/10   1.5s  ?/-      -  disabled, until "
        "2030-01-02T03:04:05Z\n");
    assert_string_equal(
        joined(shown(ControlCommand::Reload,
                     "{\"tokens\":2,\"summary\":\"changed: A\",\"restart\":["
                     "\"B\"],\"warnings\":[\"w\\u001b\"]}"))
            .c_str(),
        "reloaded, 2 tokens; changed: A\n"
        "B has changed: takes a restart\n"
        "warning: w\\x1b\n");
    // Of another version, or no document of ours at all.
    for (const ControlCommandRow &row : kControlCommands) {
        for (const char *odd :
             {"{}", "[]",
              "{\"tokens\":[1,null],\"running\":[{}],\"labels\":"
              "{},\"workers\":[[]],\"backends\":[\"x\"]}"}) {
            (void)shown(row.command, odd);
        }
    }
}

static void a_small_screen_shows_what_fits(void **)
{
    TopText text;
    text.head = "head is long";
    for (int i = 0; i < 30; i++) {
        text.labels.push_back("label " + std::to_string(i));
        text.running.push_back("running " + std::to_string(i));
    }
    for (size_t rows = 1; rows < 80; rows++) {
        const Lines lines = fit(text, rows, 9);
        assert_int_equal(lines.size(), rows);
        assert_string_equal(lines[0].c_str(), "head is l");
        for (const std::string &line : lines) {
            assert_true(line.size() <= 9);
        }
    }
    const Lines some = fit(text, 25, 80);
    assert_string_equal(some[7].c_str(), "... 25 more");
    assert_string_equal(some[9].c_str(), "running 0");
    assert_string_equal(some[22].c_str(), "... 17 more");
    assert_string_equal(some.back().c_str(), "q quits");
    const std::string all = joined(fit(text, 70, 80));
    assert_true(all.find("more") == std::string::npos);
    assert_true(all.find("label 29\n\nrunning 0\n") != std::string::npos);
    assert_true(all.find("running 29\n") != std::string::npos);
}

static void commands_are_told_from_nonsense(void **)
{
    static const struct {
        std::vector<std::string_view> words;
        const char *error; // empty = none
    } cases[] = {
        {{}, "a command is missing"},
        {{"status"}, ""},
        {{"loglevel"}, ""},
        {{"loglevel", "debug"}, ""},
        {{"loglevel", "a", "b"}, "loglevel takes [LEVEL]"},
        {{"limiter", "reset", "alice"}, ""},
        {{"limiter", "reset"}, "limiter reset takes LABEL"},
        {{"limiter", "rest", "x"}, "it is 'limiter reset LABEL'"},
        {{"drain", "now"}, "drain takes no argument"},
        {{"Status"}, "unknown command 'Status'; did you mean 'status'?"},
        {{"conf"}, "unknown command 'conf'; did you mean 'config'?"},
        {{"x\x1by"}, "unknown command 'x\\x1by'"},
    };
    for (const auto &c : cases) {
        ControlRequest request;
        Error err;
        assert_int_equal(parse_control(c.words, request, err),
                         *c.error == '\0');
        assert_string_equal(err.message.c_str(), c.error);
    }
    // The enum is the table's index.
    for (size_t i = 0; i < kControlCommands.size(); i++) {
        assert_int_equal(kControlCommands[i].command, i);
    }
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_three_digits_and_a_unit),
        cmocka_unit_test(times_have_two_units_at_most),
        cmocka_unit_test(nothing_moves_the_terminal),
        cmocka_unit_test(columns_are_as_wide_as_their_widest),
        cmocka_unit_test(documents_become_lines),
        cmocka_unit_test(a_small_screen_shows_what_fits),
        cmocka_unit_test(commands_are_told_from_nonsense),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
