// json/value: the flags every parse and print of the program uses.

#include "llm_proxy/json/value.h"

#include <cstring>

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
        cmocka_unit_test(wipes_a_secret_in_place),
    };
    return cmocka_run_group_tests_name("value", tests, nullptr, nullptr);
}
