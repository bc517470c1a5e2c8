// http/message: fields in and out. No output line can be split.

#include "llm_proxy/http/message.h"

#include <string>

#include "cmocka.hpp"

using namespace llmproxy;

static void finds_the_first_field_of_any_case(void **)
{
    const std::vector<Field> fields = {{"A", "1"}, {"b", "2"}, {"B", "3"}};
    assert_true(*find_field(fields, "B") == "2");
    assert_null(find_field(fields, "c"));
    ReplyHead reply;
    reply.fields = fields;
    assert_true(*reply.find("a") == "1");
}

static void finds_tokens_in_lists(void **)
{
    assert_true(list_contains("close", "close"));
    assert_true(list_contains("Keep-Alive , CLOSE", "close"));
    assert_true(list_contains(",,close,", "close"));
    assert_false(list_contains("closed, xclose", "close"));
    assert_false(list_contains("", "close"));
}

static void writes_fields(void **)
{
    FieldBlock block;
    assert_true(block.add("X-Request-Id", "req_1"));
    assert_true(block.add("X-Name", "caf\xe9\tand more"));
    assert_true(block.add("X-Empty", ""));
    block.add("Content-Length", static_cast<uint64_t>(42));
    assert_string_equal(block.text().c_str(),
                        "X-Request-Id: req_1\r\nX-Name: caf\xe9\tand more\r\n"
                        "X-Empty: \r\nContent-Length: 42\r\n");
    // A byte that a value cannot have is found wherever it stands.
    for (size_t size = 1; size < 40; size++) {
        for (size_t at = 0; at < size; at++) {
            for (const char bad : {'\0', '\n', '\r', '\x1f', '\x7f'}) {
                std::string value(size, at % 2 == 0 ? '\t' : 'v');
                assert_true(FieldBlock().add("X-Name", value));
                value[at] = bad;
                assert_false(FieldBlock().add("X-Name", value));
            }
        }
    }
    block.clear();
    assert_true(block.text().empty());
}

static void leaves_out_what_could_split_a_line(void **)
{
    FieldBlock block;
    for (const std::string_view value :
         {std::string_view("a\r\nX: y"), std::string_view("a\n"),
          std::string_view("a\0b", 3), std::string_view("\x7f"),
          std::string_view("\x1b[2J")}) {
        assert_false(block.add("X-A", value));
    }
    for (const std::string_view name : {"", "a b", "a:", "a\r\n", "\xe9"}) {
        assert_false(block.add(name, "v"));
    }
    assert_true(block.text().empty());
}

static void every_byte_of_a_value_is_judged(void **)
{
    for (int byte = 0; byte < 256; byte++) {
        const bool allowed = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
        for (size_t at = 0; at < 19; at++) {
            std::string value(19, at % 2 == 0 ? 'a' : '\xff');
            value[at] = static_cast<char>(byte);
            FieldBlock block;
            assert_int_equal(block.add("X", value), allowed);
        }
    }
}

static void names_methods_and_statuses(void **)
{
    assert_string_equal(method_name(Method::Get), "GET");
    assert_string_equal(method_name(Method::Trace), "TRACE");
    assert_string_equal(reason_phrase(200), "OK");
    assert_string_equal(reason_phrase(431), "Request Header Fields Too Large");
    assert_string_equal(reason_phrase(599), "Unknown");
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_first_field_of_any_case),
        cmocka_unit_test(finds_tokens_in_lists),
        cmocka_unit_test(writes_fields),
        cmocka_unit_test(leaves_out_what_could_split_a_line),
        cmocka_unit_test(every_byte_of_a_value_is_judged),
        cmocka_unit_test(names_methods_and_statuses),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
