// http/ndjson: lines out of any pieces.

#include "llm_proxy/http/ndjson.h"

#include <string>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

// All lines of two parts of `text`, each in brackets; '!' = too long.
std::string split(const std::string &text, size_t cut, size_t max_line)
{
    LineSplitter splitter(max_line);
    std::string out;
    std::string_view line;
    for (const std::string &part : {text.substr(0, cut), text.substr(cut)}) {
        std::string_view in = part;
        for (;;) {
            const LineSplitter::Result result = splitter.next(in, line);
            if (result == LineSplitter::Result::TooLong) {
                return out + "!";
            }
            if (result == LineSplitter::Result::NeedMore) {
                assert_true(in.empty());
                break;
            }
            out += "[" + std::string(line) + "]";
        }
    }
    if (splitter.last(line) == LineSplitter::Result::Line) {
        out += "(" + std::string(line) + ")";
    }
    assert_true(splitter.last(line) == LineSplitter::Result::NeedMore);
    return out;
}

void check(const std::string &text, const char *expected,
           size_t max_line = 1000)
{
    for (size_t cut = 0; cut <= text.size(); cut++) {
        assert_string_equal(split(text, cut, max_line).c_str(), expected);
    }
}

} // namespace

static void splits_lines(void **)
{
    check("{\"a\":1}\n{\"b\":2}\n", "[{\"a\":1}][{\"b\":2}]");
    check("a\r\nb\r\n", "[a][b]");
    check("a\rb\n", "[a\rb]");
    check("", "");
}

static void leaves_out_blank_lines(void **)
{
    check("\n\r\na\n\n\nb\n\r\n", "[a][b]");
}

static void gives_the_unended_rest(void **)
{
    check("a\nbc", "[a](bc)");
    check("a\nbc\r", "[a](bc)");
    check("a\n\r", "[a]");
}

static void refuses_long_lines(void **)
{
    check("abcde\nabcd\n", "[abcde][abcd]", 5);
    check("ab\nabcdef\n", "[ab]!", 5);
    check("ab\nabcdef", "[ab]!", 5);
    check("abcde\r\n", "!", 5); // the CR counts
}

static void does_not_copy_whole_lines(void **)
{
    LineSplitter splitter(100);
    const std::string text = "abc\ndef\n";
    std::string_view in = text;
    std::string_view line;
    assert_true(splitter.next(in, line) == LineSplitter::Result::Line);
    assert_ptr_equal(line.data(), text.data());
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_lines),
        cmocka_unit_test(leaves_out_blank_lines),
        cmocka_unit_test(gives_the_unended_rest),
        cmocka_unit_test(refuses_long_lines),
        cmocka_unit_test(does_not_copy_whole_lines),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
