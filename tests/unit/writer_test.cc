// json/writer: what append_string() prints, and that a parser reads it back.

#include "llm_proxy/json/value.h"
#include "llm_proxy/json/writer.h"

#include "cmocka.hpp"

using namespace llmproxy;

static std::string written(std::string_view text)
{
    std::string out;
    json::append_string(out, text);
    return out;
}

static void escapes_what_must_be_escaped(void **)
{
    assert_string_equal(written("").c_str(), "\"\"");
    assert_string_equal(written("a\"b\\c/d").c_str(), "\"a\\\"b\\\\c/d\"");
    assert_string_equal(written("\b\f\n\r\t\v").c_str(),
                        "\"\\b\\f\\n\\r\\t\\u000b\"");
    assert_string_equal(written({"\0\x1f\x7f", 3}).c_str(),
                        "\"\\u0000\\u001f\x7f\"");
}

static void appends_behind_what_is_there(void **)
{
    std::string out = "{";
    json::append_string(out, "k");
    assert_string_equal(out.c_str(), "{\"k\"");
}

static void keeps_valid_utf8(void **)
{
    const char text[] = "\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80"
                        "\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf";
    assert_string_equal(written(text).c_str(),
                        ("\"" + std::string(text) + "\"").c_str());
}

static void replaces_each_byte_that_is_not_utf8(void **)
{
    static const struct {
        const char *text;
        size_t bad;
    } table[] = {
        {"\x80", 1},
        {"\xbf", 1},
        {"\xc0\xaf", 2},
        {"\xc1\xbf", 2},
        {"\xc3", 1},
        {"\xe0\x9f\xbf", 3},
        {"\xe2\x82", 2},
        {"\xed\xa0\x80", 3},
        {"\xf0\x8f\xbf\xbf", 4},
        {"\xf0\x9f\x98", 3},
        {"\xf4\x90\x80\x80", 4},
        {"\xf5", 1},
        {"\xff", 1},
        {"\xfe", 1},
    };
    for (const auto &row : table) {
        std::string wanted = "\"a";
        for (size_t i = 0; i < row.bad; i++) {
            wanted += "\xef\xbf\xbd";
        }
        wanted += "b\"";
        const std::string text = "a" + std::string(row.text) + "b";
        assert_string_equal(written(text).c_str(), wanted.c_str());
    }
}

static void every_byte_is_read_back(void **)
{
    for (unsigned byte = 0; byte < 0x80; byte++) {
        const std::string text(3, static_cast<char>(byte));
        json::Ptr root;
        Error err;
        assert_true(json::parse("[" + written(text) + "]", root, err));
        const std::string_view read =
            json::string_of(json::elements(root.get())[0]);
        assert_true(read == text);
    }
}

static void a_document_is_written_member_by_member(void **)
{
    std::string out;
    json::Writer w(out);
    w.begin_object();
    w.text("a\"", "1\n");
    w.begin_array("list");
    w.end_array();
    w.begin_array("more");
    w.number({}, 0);
    w.begin_object();
    w.end_object();
    w.begin_object();
    w.number("n", UINT64_MAX);
    w.end_object();
    w.text({}, "");
    w.end_array();
    w.boolean("t", true);
    w.boolean("f", false);
    w.null("z");
    w.end_object();
    assert_string_equal(out.c_str(),
                        "{\"a\\\"\":\"1\\n\",\"list\":[],\"more\":[0,{},"
                        "{\"n\":18446744073709551615},\"\"],\"t\":true,"
                        "\"f\":false,\"z\":null}");
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(escapes_what_must_be_escaped),
        cmocka_unit_test(appends_behind_what_is_there),
        cmocka_unit_test(keeps_valid_utf8),
        cmocka_unit_test(replaces_each_byte_that_is_not_utf8),
        cmocka_unit_test(every_byte_is_read_back),
        cmocka_unit_test(a_document_is_written_member_by_member),
    };
    return cmocka_run_group_tests_name("writer", tests, nullptr, nullptr);
}
