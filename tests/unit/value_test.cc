// json/value: the flags every parse and print of the program uses.

#include "llm_proxy/json/value.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include <jansson.h>

#include "cmocka.hpp"

using namespace llmproxy;

static json::Ptr parsed(const char *text)
{
    json::Ptr root;
    Error err;
    assert_true(json::parse(text, root, err));
    return root;
}

static void reads_members_by_type(void **)
{
    const json::Ptr root =
        parsed("{\"s\":\"a\\u0000b\",\"i\":7,\"r\":1.5,\"t\":true,\"n\":null}");
    std::string_view text;
    int64_t number = 1;
    bool flag = false;
    assert_true(json::get_string(root.get(), "s", text));
    assert_true(text == std::string_view("a\0b", 3));
    assert_true(json::get_int(root.get(), "i", number));
    assert_int_equal(number, 7);
    assert_true(json::get_bool(root.get(), "t", flag));
    assert_true(flag);

    assert_false(json::get_int(root.get(), "r", number));
    assert_false(json::get_int(root.get(), "s", number));
    assert_false(json::get_string(root.get(), "i", text));
    assert_false(json::get_bool(root.get(), "n", flag));
    assert_false(json::get_bool(root.get(), "absent", flag));
    assert_int_equal(number, 7);

    assert_null(json::get(root.get(), "n"));
    assert_null(json::get(root.get(), "absent"));
    assert_null(json::get(nullptr, "s"));
    assert_non_null(json::get(root.get(), "i"));
    assert_true(json::string_of(json::get(root.get(), "i")).empty());
}

static void lists_elements_and_keys(void **)
{
    const json::Ptr root = parsed("{\"b\":[1,\"x\",null],\"a\":{}}");
    const std::vector<std::string_view> keys = json::keys(root.get());
    assert_int_equal(keys.size(), 2);
    assert_true(keys[0] == "b" && keys[1] == "a");
    const std::vector<json_t *> list =
        json::elements(json::get(root.get(), "b"));
    assert_int_equal(list.size(), 3);
    assert_string_equal(json::type_name(list[0]), "an integer");
    assert_string_equal(json::type_name(list[1]), "a string");
    assert_string_equal(json::type_name(list[2]), "null");
    assert_string_equal(json::type_name(nullptr), "nothing");
    assert_true(json::elements(root.get()).empty());
    assert_true(json::keys(list[0]).empty());
}

static void errors_say_where_but_not_what(void **)
{
    static const char *const bad[] = {
        "{\"token\": \"s3cret-value\" x}",
        "{\"s3cret\":1,\"s3cret\":2}",
        "[s3cret]",
        "[\"s3cret",
        "{\"a\":\"s3cret\\q\"}",
        "[\"\\ud800s3cret\"]",
        "[\"s3cret\\uD8ab\"]",
        "[1] s3cret",
        "\"s3cret\"",
        "",
    };
    for (const char *text : bad) {
        json::Ptr root;
        Error err;
        assert_false(json::parse(text, root, err));
        assert_null(root.get());
        assert_null(strstr(err.message.c_str(), "s3cret"));
        assert_null(strcasestr(err.message.c_str(), "d8"));
        assert_non_null(strstr(err.message.c_str(), " (line 1, column "));
        assert_true(err.message.front() != ' ');
    }
    json::Ptr root;
    Error err;
    size_t line = 0;
    assert_false(json::parse("[1,\n2,\n,]", root, err, &line));
    assert_int_equal(line, 3);
}

static void duplicate_keys_only_pass_leniently(void **)
{
    const char text[] = "{\"a\":{\"k\":1,\"k\":2}}";
    json::Ptr root;
    Error err;
    assert_false(json::parse(text, root, err));
    assert_non_null(strstr(err.message.c_str(), "duplicate object key"));
    assert_true(json::parse_lenient(text, root, err));
    int64_t number = 0;
    assert_true(json::get_int(json::get(root.get(), "a"), "k", number));
    assert_int_equal(number, 2);
}

static void prints_compactly_with_short_fractions(void **)
{
    const json::Ptr root =
        parsed("{ \"r\": 0.7, \"t\": [0.1, 2.0, 1e-7], \"u\": \"\\u00e9/\" }");
    assert_string_equal(json::dump(root.get()).c_str(),
                        "{\"r\":0.7,\"t\":[0.1,2.0,1e-7],\"u\":\"\xc3\xa9/\"}");
    std::string out = "x";
    json::append_dump(out, json::get(root.get(), "r"));
    assert_string_equal(out.c_str(), "x0.7");
}

static void reals_read_back_as_they_were(void **)
{
    static const struct {
        const char *text;
        const char *wanted;
    } cases[] = {
        {"0.7", "0.7"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"0.12345678901234568", "0.12345678901234568"},
        {"0.1234567890123456", "0.1234567890123456"},
        {"1.7976931348623157e308", "1.7976931348623157e308"},
        {"-1.7976931348623157E+308", "-1.7976931348623157e308"},
        {"5e-324", "4.94065645841247e-324"},
        {"2.2250738585072014e-308", "2.2250738585072014e-308"},
        {"3.0", "3.0"},
        {"-0.0", "-0.0"},
        {"1e22", "1e22"},
        {"100000000.0", "100000000.0"},
        {"1e-07", "1e-7"},
        {"9007199254740993.0", "9007199254740992.0"},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"0", "0"},
    };
    for (const auto &row : cases) {
        const json::Ptr root =
            parsed((std::string("[") + row.text + "]").c_str());
        const std::string text = json::dump(root.get());
        assert_string_equal(text.c_str(),
                            (std::string("[") + row.wanted + "]").c_str());
        assert_true(json_equal(root.get(), parsed(text.c_str()).get()));
    }
    srandom(1);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = 0;
        for (int part = 0; part < 4; part++) {
            bits = bits << 16 | (static_cast<uint64_t>(random()) & 0xffff);
        }
        double value = 0;
        memcpy(&value, &bits, sizeof value);
        if (!std::isfinite(value)) {
            continue;
        }
        const json::Ptr real(json_real(value));
        const json::Ptr back(json_loads(json::dump(real.get()).c_str(),
                                        JSON_DECODE_ANY, nullptr));
        assert_true(json_is_real(back.get()));
        assert_true(json_real_value(back.get()) == value);
    }
}

static void prints_every_kind_of_value(void **)
{
    const char text[] = "{\"\":[],\"o\":{},\"\xc3\xa9\\n\":[null,true,false,"
                        "{\"s\":\"\\u0000\\u001f\\\"\\\\/\x7f\"}]}";
    assert_string_equal(json::dump(parsed(text).get()).c_str(), text);
    assert_string_equal(json::dump(nullptr).c_str(), "");
}

static void values_as_deep_as_can_be_read_are_printed(void **)
{
    const std::string deep = std::string(2048, '[') + std::string(2048, ']');
    assert_true(json::dump(parsed(deep.c_str()).get()) == deep);
    json::Ptr root;
    Error err;
    assert_false(json::parse("[" + deep + "]", root, err));
}

static void integers_may_be_written_as_reals(void **)
{
    static const struct {
        const char *text;
        bool good;
        int64_t wanted;
    } cases[] = {
        {"[5]", true, 5},
        {"[-5.0]", true, -5},
        {"[1e6]", true, 1000000},
        {"[9007199254740992.0]", true, 9007199254740992},
        {"[9007199254740994.0]", false, 0},
        {"[0.5]", false, 0},
        {"[\"5\"]", false, 0},
        {"[true]", false, 0},
        {"[null]", false, 0},
    };
    for (const auto &row : cases) {
        const json::Ptr root = parsed(row.text);
        int64_t number = 0;
        assert_int_equal(
            json::read_integer(json::elements(root.get())[0], number),
            row.good);
        assert_int_equal(number, row.wanted);
    }
    int64_t number = 0;
    assert_false(json::read_integer(nullptr, number));
}

static void wipes_a_secret_in_place(void **)
{
    const json::Ptr root = parsed("[\"secret\", 5]");
    const std::vector<json_t *> list = json::elements(root.get());
    json::wipe_string(list[0]);
    json::wipe_string(list[1]);
    json::wipe_string(nullptr);
    assert_true(json::string_of(list[0]) ==
                std::string_view("\0\0\0\0\0\0", 6));
}

int main()
{
    json::init();
    const CMUnitTest tests[] = {
        cmocka_unit_test(reads_members_by_type),
        cmocka_unit_test(lists_elements_and_keys),
        cmocka_unit_test(errors_say_where_but_not_what),
        cmocka_unit_test(duplicate_keys_only_pass_leniently),
        cmocka_unit_test(prints_compactly_with_short_fractions),
        cmocka_unit_test(reals_read_back_as_they_were),
        cmocka_unit_test(prints_every_kind_of_value),
        cmocka_unit_test(values_as_deep_as_can_be_read_are_printed),
        cmocka_unit_test(integers_may_be_written_as_reals),
        cmocka_unit_test(wipes_a_secret_in_place),
    };
    return cmocka_run_group_tests_name("value", tests, nullptr, nullptr);
}
