// json/scanner: what it accepts, where it refuses, the facts it notes, that
// cuts change nothing, and that it agrees with jansson.

#include "llm_proxy/json/scanner.h"
#include "llm_proxy/json/string_content.h"
#include "llm_proxy/json/value.h"

#include <jansson.h>

#include "cmocka.hpp"

using namespace llmproxy::json;

namespace
{

using Kind = ScanError::Kind;

struct Result {
    bool ok = false;
    BodyFacts facts;
    ScanError error;
};

Result scan_pieces(std::string_view text, size_t first, size_t step)
{
    BodyScanner scanner;
    bool ok = scanner.feed(text.substr(0, first));
    for (size_t at = first; at < text.size(); at += step) {
        // A refused scanner stays refused.
        const bool more = scanner.feed(text.substr(at, step));
        assert_true(ok || !more);
        ok = more;
    }
    ok = scanner.finish() && ok;
    return {ok, scanner.facts(), scanner.error()};
}

bool same(const Result &a, const Result &b)
{
    if (a.ok != b.ok) {
        return false;
    }
    if (!a.ok) {
        return a.error.kind == b.error.kind &&
               a.error.message == b.error.message &&
               a.error.line == b.error.line && a.error.column == b.error.column;
    }
    const BodyFacts &x = a.facts;
    const BodyFacts &y = b.facts;
    if (x.long_strings.size() != y.long_strings.size()) {
        return false;
    }
    for (size_t i = 0; i < x.long_strings.size(); i++) {
        if (x.long_strings[i].begin != y.long_strings[i].begin ||
            x.long_strings[i].end != y.long_strings[i].end) {
            return false;
        }
    }
    return x.model_kind == y.model_kind && x.model.begin == y.model.begin &&
           x.model.end == y.model.end && x.model_text == y.model_text &&
           x.stream_kind == y.stream_kind && x.stream == y.stream &&
           x.lone_surrogate == y.lone_surrogate;
}

// Whole, and again byte by byte and cut at each offset (of a long document,
// only near its ends and where a word of eight bytes may be cut).
Result scan(std::string_view text)
{
    const Result whole = scan_pieces(text, text.size(), 1);
    if (!same(whole, scan_pieces(text, 0, 1)) ||
        !same(whole, scan_pieces(text, 0, 7))) {
        fail_msg("pieces differ: %.*s", static_cast<int>(text.size()),
                 text.data());
    }
    for (size_t cut = 0; cut <= text.size(); cut++) {
        if (text.size() > 4096 && cut > 64 && cut + 64 < text.size() &&
            cut % 1021 != 0) {
            continue;
        }
        if (!same(whole, scan_pieces(text, cut, text.size()))) {
            fail_msg("a cut at %zu changes: %.*s", cut,
                     static_cast<int>(text.size()), text.data());
        }
    }
    return whole;
}

std::string nested(size_t arrays, const char *inner)
{
    return "{\"a\":" + std::string(arrays, '[') + inner +
           std::string(arrays, ']') + "}";
}

} // namespace

static const char *const kValid[] = {
    "{}",
    " \t\r\n{ }\n ",
    "{\"a\":1}",
    "{\"a\":[]}",
    "{\"a\":[1,[2,{}],{\"b\":[]}]}",
    "{\"\":\"\"}",
    "{\"a\":0,\"b\":-0,\"c\":10,\"d\":-1.25,\"e\":0.5e+10,\"f\":1E-2}",
    "{\"a\":0e0,\"b\":1e5,\"c\":-0.0}",
    "{\"a\":true,\"b\":false,\"c\":null}",
    "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uFfFf\"}",
    "{\"a\":\"\\ud83d\\ude00\"}",
    "{\"a\":\"\x7f\"}",
    "{\"a\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}",
    "{\"a\":\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"}",
    "{\"\xc3\xa9\":1}",
    "{\"a\" : { \"b\" : [ 1 , 2 ] } , \"c\" : 3 }",
    "{\"aaaaaaa\":\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"}",
};

static const struct {
    const char *text;
    const char *message; // how it begins
    size_t line;
    size_t column;
} kInvalid[] = {
    {"", "the document is empty", 1, 1},
    {" \n ", "the document is empty", 2, 2},
    {"x", "expected an object", 1, 1},
    {"{", "the document ends too early", 1, 2},
    {"{\"a\"", "the document ends too early", 1, 5},
    {"{\"a\":1", "the document ends too early", 1, 7},
    {"{\"a\":\"x", "the document ends too early", 1, 8},
    {"{\"a\":tru", "the document ends too early", 1, 9},
    {"{} {}", "something follows", 1, 4},
    {"{}x", "something follows", 1, 3},
    {"{}\n\n}", "something follows", 3, 1},
    {"{a:1}", "expected a key", 1, 2},
    {"{'a':1}", "expected a key", 1, 2},
    {"{\"a\":1,}", "expected a key", 1, 8},
    {"{,}", "expected a key", 1, 2},
    {"{\"a\" 1}", "expected ':'", 1, 6},
    {"{\"a\":}", "expected a value", 1, 6},
    {"{\"a\":[1,]}", "expected a value", 1, 9},
    {"{\"a\":[,1]}", "expected a value", 1, 7},
    {"{\"a\":[1 2]}", "expected ',' or ']'", 1, 9},
    {"{\"a\":1 \"b\":2}", "expected ',' or '}'", 1, 8},
    {"{\"a\":[1}", "expected ',' or ']'", 1, 8},
    {"{\"a\":1]", "expected ',' or '}'", 1, 7},
    {"{\"a\":\n  [tru e]}", "expected true, false", 2, 7},
    {"{\"a\":nul}", "expected true, false", 1, 9},
    {"{\"a\":NaN}", "expected a value", 1, 6},
    {"{\"a\":Infinity}", "expected a value", 1, 6},
    {"{\"a\":+1}", "expected a value", 1, 6},
    {"{\"a\":.5}", "expected a value", 1, 6},
    {"{\"a\":01}", "expected ',' or '}'", 1, 7},
    {"{\"a\":1.}", "expected a digit", 1, 8},
    {"{\"a\":-}", "expected a digit", 1, 7},
    {"{\"a\":1e}", "expected a digit", 1, 8},
    {"{\"a\":1e+}", "expected a digit", 1, 9},
    {"{\"a\":1.5.5}", "expected ',' or '}'", 1, 9},
    {"{\"a\":1e5e5}", "expected ',' or '}'", 1, 9},
    {"{\"a\":0x10}", "expected ',' or '}'", 1, 7},
    {"{\"a\":/**/1}", "expected a value", 1, 6},
    {"{\"a\":\"\n\"}", "a control character", 1, 7},
    {"{\"a\":\"12345678901\x1f\"}", "a control character", 1, 18},
    {"{\"a\":\"\\x\"}", "an unknown escape", 1, 8},
    {"{\"a\":\"\\U0041\"}", "an unknown escape", 1, 8},
    {"{\"a\":\"\\u12g4\"}", "expected four hex digits", 1, 11},
    {"{\"a\":\"\\u\"}", "expected four hex digits", 1, 9},
    {"{\"a\":\"\x80\"}", "invalid UTF-8", 1, 7},
    {"{\"a\":\"\xc0\xaf\"}", "invalid UTF-8", 1, 7},
    {"{\"a\":\"\xc3(\"}", "invalid UTF-8", 1, 8},
    {"{\"a\":\"\xe0\x9f\xbf\"}", "invalid UTF-8", 1, 8},
    {"{\"a\":\"\xed\xa0\x80\"}", "invalid UTF-8", 1, 8},
    {"{\"a\":\"\xf0\x8f\xbf\xbf\"}", "invalid UTF-8", 1, 8},
    {"{\"a\":\"\xf4\x90\x80\x80\"}", "invalid UTF-8", 1, 8},
    {"{\"a\":\"\xf0\x9f\x98\"}", "invalid UTF-8", 1, 10},
    {"{\"a\":\"\xff\"}", "invalid UTF-8", 1, 7},
    {"{\"a\":\xc3\xa9}", "expected a value", 1, 6},
    {"{\"a\":1\f}", "expected ',' or '}'", 1, 7},
    {"\xef\xbb\xbf{}", "the document begins with a byte order mark", 1, 3},
    {"\xef\xbc\xa1", "expected an object", 1, 2},
    {"\xfe\xff{}", "expected an object", 1, 1},
};

static void accepts_valid_documents(void **)
{
    for (const char *text : kValid) {
        if (!scan(text).ok) {
            fail_msg("refused: %s", text);
        }
    }
}

static void refuses_invalid_documents_with_their_place(void **)
{
    for (const auto &row : kInvalid) {
        const Result result = scan(row.text);
        if (result.ok || result.error.message.rfind(row.message, 0) != 0) {
            fail_msg("%s: %s", row.text, result.error.message.c_str());
        }
        assert_int_equal(result.error.kind, Kind::Syntax);
        if (result.error.line != row.line ||
            result.error.column != row.column) {
            fail_msg("%s: line %zu, column %zu", row.text, result.error.line,
                     result.error.column);
        }
    }
}

static void a_nul_byte_is_no_blank(void **)
{
    assert_false(scan({"{}\0", 3}).ok);
    assert_false(scan({"{\"a\":\"\0\"}", 9}).ok);
    assert_false(scan({"\0{}", 3}).ok);
}

static void the_top_level_must_be_an_object(void **)
{
    for (const char *text : {"[]", "\"x\"", "1", "-1", "true", "null", "[1"}) {
        const Result result = scan(text);
        assert_false(result.ok);
        assert_int_equal(result.error.kind, Kind::NotObject);
    }
}

static void depth_is_limited_as_in_jansson(void **)
{
    // The object is one level, a scalar inside the innermost array another.
    assert_true(scan(nested(kMaxDepth - 1, "")).ok);
    assert_true(scan(nested(kMaxDepth - 2, "1")).ok);
    Result result = scan(nested(kMaxDepth - 1, "1"));
    assert_false(result.ok);
    assert_int_equal(result.error.kind, Kind::TooDeep);
    assert_int_equal(result.error.column, 5 + kMaxDepth);
    result = scan(nested(kMaxDepth, ""));
    assert_int_equal(result.error.kind, Kind::TooDeep);
    assert_false(scan(std::string(100000, '[')).ok);
}

static void notes_model_and_stream_of_the_top_level_only(void **)
{
    const Result result = scan(
        "{\"messages\":[{\"model\":\"x\",\"stream\":true,\"content\":"
        "\"\\\"model"
        "\\\":\\\"y\\\"\"}], \"metadata\":{\"model\":\"z\",\"stream\":true}, "
        "\"mo\\u0064el\" : \"vllm:q\\u0077en\\ud83d\\ude00\\n\" ,"
        "\"stream\": false}");
    assert_true(result.ok);
    assert_int_equal(result.facts.model_kind, MemberKind::String);
    assert_string_equal(result.facts.model_text.c_str(),
                        "vllm:qwen\xf0\x9f\x98\x80\n");
    assert_int_equal(result.facts.model.size(),
                     sizeof "'vllm:q\\u0077en\\ud83d\\ude00\\n'" - 1);
    assert_int_equal(result.facts.stream_kind, MemberKind::Bool);
    assert_false(result.facts.stream);
}

static void notes_the_kinds_of_model_and_stream(void **)
{
    static const struct {
        const char *value;
        MemberKind kind;
    } table[] = {
        {"null", MemberKind::Null},
        {"true", MemberKind::Bool},
        {"12", MemberKind::Number},
        {"-0.5", MemberKind::Number},
        {"\"s\"", MemberKind::String},
        {"[\"s\"]", MemberKind::Array},
        {"[true]", MemberKind::Array},
        {"{\"model\":\"s\"}", MemberKind::Object},
        {"{\"stream\":true}", MemberKind::Object},
    };
    for (const auto &row : table) {
        const std::string value = row.value;
        const Result result =
            scan("{\"model\":" + value + ",\"stream\":" + value + "}");
        assert_true(result.ok);
        assert_int_equal(result.facts.model_kind, row.kind);
        assert_int_equal(result.facts.stream_kind, row.kind);
        assert_int_equal(result.facts.stream, value == "true");
        assert_string_equal(result.facts.model_text.c_str(),
                            value == "\"s\"" ? "s" : "");
    }
    const Result none = scan("{\"a\":{\"model\":1}}");
    assert_int_equal(none.facts.model_kind, MemberKind::Absent);
    assert_int_equal(none.facts.stream_kind, MemberKind::Absent);
}

static void the_models_range_is_the_string_with_its_quotes(void **)
{
    const std::string text = "{ \"a\":[\"\xc3\xa9\"],\n\"model\": \"m\\\"1\"}";
    const Result result = scan(text);
    assert_true(result.ok);
    const Range range = result.facts.model;
    assert_string_equal(text.substr(range.begin, range.size()).c_str(),
                        "\"m\\\"1\"");
}

static void refuses_duplicate_top_level_keys(void **)
{
    for (const char *text :
         {"{\"a\":1,\"a\":2}", "{\"model\":\"x\",\"mode\\u006c\":\"y\"}",
          "{\"\":1,\"b\":{},\"\":2}", "{\"\xc3\xa9\":1,\"\\u00E9\":1}"}) {
        const Result result = scan(text);
        assert_false(result.ok);
        assert_int_equal(result.error.kind, Kind::DuplicateKey);
    }
    const Result result = scan("{\"a\":1,\n \"a\":2}");
    assert_int_equal(result.error.line, 2);
    assert_int_equal(result.error.column, 2);
    assert_true(scan("{\"a\":{\"b\":1,\"b\":2},\"b\":3}").ok);
}

// Keys of one length and first byte are looked for among the others.
static void keys_that_look_alike_are_told_apart(void **)
{
    const std::string names[] = {"abc", "abd", "bab", "", "ab", "abcd"};
    std::string text = "{";
    for (const std::string &name : names) {
        text += "\"" + name + "\":0,";
    }
    std::string whole = text;
    whole.back() = '}';
    assert_true(scan(whole).ok);
    for (const std::string &name : names) {
        const Result result = scan(text + "\"" + name + "\":0}");
        assert_false(result.ok);
        assert_int_equal(result.error.kind, Kind::DuplicateKey);
    }
}

static void refuses_a_model_key_in_another_case(void **)
{
    for (const char *text :
         {"{\"Model\":\"x\"}", "{\"model\":\"x\",\"MODEL\":\"y\"}",
          "{\"mode\\u004c\":\"x\"}"}) {
        const Result result = scan(text);
        assert_false(result.ok);
        assert_int_equal(result.error.kind, Kind::ModelCase);
    }
    assert_true(scan("{\"a\":{\"Model\":1},\"models\":1,\"Stream\":1}").ok);
}

static void limits_top_level_keys(void **)
{
    std::string text = "{";
    for (size_t i = 0; i < kMaxTopKeys; i++) {
        text += "\"k" + std::to_string(i) + "\":0,";
    }
    std::string whole = text;
    whole.back() = '}';
    assert_true(scan_pieces(whole, whole.size(), 1).ok);
    text += "\"last\":0}";
    const Result result = scan_pieces(text, text.size(), 1);
    assert_false(result.ok);
    assert_int_equal(result.error.kind, Kind::TooManyKeys);
}

static void content_ends_at_every_byte_that_needs_a_look(void **)
{
    // Long enough for blocks of 64 bytes, which follow the first 128.
    std::string plain;
    while (plain.size() < 260) {
        plain += "0123456789 abcdefghijklmnopqrstuvwxyz~";
    }
    plain += "\xc3\xa9";
    for (size_t size = 0; size < plain.size() - 1; size++) {
        const std::string front = plain.substr(0, size);
        assert_int_equal(content_length(front), size);
        for (int byte = 0; byte < 256; byte++) {
            const char c = static_cast<char>(byte);
            const bool ends =
                byte < 0x20 || byte >= 0x80 || c == '"' || c == '\\';
            for (const std::string &rest : {std::string(), plain}) {
                const std::string text = front + c + rest;
                assert_int_equal(content_length(text),
                                 ends ? size : text.size());
            }
        }
    }
    assert_int_equal(content_length(plain + plain), 2 * plain.size());
}

// Neither is counted as memory by anyone, so both stay small.
static void keeps_little_of_long_names(void **)
{
    const std::string most(kMaxTopKeyBytes - 5, 'k');
    const std::string most_keys = "{\"" + most + "\":0,\"model\":\"m\"";
    std::string text = most_keys + "}";
    assert_true(scan_pieces(text, text.size(), 1).ok);
    for (const std::string &more :
         {most_keys + ",\"x\":0}", "{\"" + most + "123456\":0}",
          "{\"" + most + most + "\":0}"}) {
        const Result result = scan_pieces(more, more.size(), 1);
        assert_false(result.ok);
        assert_int_equal(result.error.kind, Kind::TooManyKeys);
    }
    for (const size_t size :
         {kMaxModelText, kMaxModelText + 1, kMaxModelText * 9}) {
        const std::string model(size - 1, 'm');
        text = "{\"model\":\"" + model + "\\u00e9\"}";
        const Result result = scan_pieces(text, text.size(), 1);
        assert_true(result.ok);
        assert_int_equal(result.facts.model.end, text.size() - 1);
        assert_string_equal(
            result.facts.model_text.c_str(),
            (model + "\xc3\xa9").substr(0, kMaxModelText + 1).c_str());
    }
}

static void long_strings_are_values_over_the_limit(void **)
{
    const std::string limit(kLongString, 'x');
    const std::string longer(kLongString + 1, 'y');
    const std::string text = "{\"" + longer + "\":\"" + limit + "\",\"m\":[\"" +
                             longer + "\",{\"" + longer + "\":\"\\n" + longer +
                             "\"}]}";
    const Result result = scan(text);
    assert_true(result.ok);
    assert_int_equal(result.facts.long_strings.size(), 2);
    const Range first = result.facts.long_strings[0];
    const Range second = result.facts.long_strings[1];
    assert_true(text.substr(first.begin, first.size()) == longer);
    assert_true(text.substr(second.begin, second.size()) == "\\n" + longer);
}

static void lone_surrogates_pass_and_are_noted(void **)
{
    static const struct {
        const char *escapes;
        const char *decoded;
        bool lone;
    } table[] = {
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80", false},
        {"\\uD83D\\uDE00x", "\xf0\x9f\x98\x80x", false},
        {"\\ud83d", "\xef\xbf\xbd", true},
        {"\\ude00", "\xef\xbf\xbd", true},
        {"\\ud83dx", "\xef\xbf\xbdx", true},
        {"\\ud83d\\n", "\xef\xbf\xbd\n", true},
        {"\\ud83d\\u0041",
         "\xef\xbf\xbd"
         "A",
         true},
        {"\\ud83d\\ud83d\\ude00", "\xef\xbf\xbd\xf0\x9f\x98\x80", true},
        {"\\ude00\\ud83d", "\xef\xbf\xbd\xef\xbf\xbd", true},
        {"\\ud83d\xc3\xa9", "\xef\xbf\xbd\xc3\xa9", true},
    };
    for (const auto &row : table) {
        const std::string text = row.escapes;
        const Result model = scan("{\"model\":\"" + text + "\"}");
        assert_true(model.ok);
        assert_string_equal(model.facts.model_text.c_str(), row.decoded);
        assert_int_equal(model.facts.lone_surrogate, row.lone);
        const Result deep = scan("{\"a\":[{\"" + text + "\":0}]}");
        assert_true(deep.ok);
        assert_int_equal(deep.facts.lone_surrogate, row.lone);
    }
}

static void numbers_of_any_size_pass(void **)
{
    assert_true(scan("{\"id\":" + std::string(5000, '9') + "}").ok);
    assert_true(scan("{\"id\":1e999999,\"b\":-0.1e-99999}").ok);
}

// Documents on which the two differ by design are told apart first: numbers
// out of range, lone surrogates and \u0000 in keys are jansson's limits;
// duplicate keys below the top level it refuses on its own.
static void agrees_with_jansson(void **)
{
    static const char *const more[] = {
        "{\"a\":\"\\u0000\"}",
        "{\"a\":9223372036854775807,\"b\":-9223372036854775808}",
        "{\"a\":[[[[1]]]],\"b\":{\"c\":{\"d\":null}}}",
        "{\"a\":1,\"b\":2,\"a\":3}",
        "{\"a\":\"\\ud83d\\ude00\"}",
        "{\"a\":[1,2,3,],\"b\":1}",
        "{\"a\":-01}",
        "{\"a\":1.0E+2}",
        "{\"a\":tRue}",
        "{\"a\":\"\\ud83\"}",
    };
    const auto compare = [](const char *text) {
        const bool ours = scan(text).ok;
        json_t *root =
            json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, nullptr);
        const bool theirs = root != nullptr;
        json_decref(root);
        if (ours != theirs) {
            fail_msg("jansson %s: %s", theirs ? "accepts" : "refuses", text);
        }
    };
    for (const char *text : kValid) {
        compare(text);
    }
    for (const auto &row : kInvalid) {
        compare(row.text);
    }
    for (const char *text : more) {
        compare(text);
    }
}

// Every single-byte change of a document: the same verdict from both.
static void agrees_with_jansson_on_mutations(void **)
{
    const std::string base = "{\"a\":[1,-2.5e3,true,null],\"b\":{\"c\":\"x"
                             "\\n\\u00e9\xc3\xa9\"},\"d\":\"\"}";
    for (size_t at = 0; at < base.size(); at++) {
        for (unsigned byte = 1; byte < 256; byte++) {
            std::string text = base;
            text[at] = static_cast<char>(byte);
            const bool ours = scan_pieces(text, text.size(), 1).ok;
            json_t *root =
                json_loadb(text.data(), text.size(), JSON_ALLOW_NUL, nullptr);
            const bool theirs = root != nullptr && json_is_object(root);
            json_decref(root);
            const bool lone = text.find("\\ud") != std::string::npos;
            if (ours != theirs && !lone &&
                scan_pieces(text, text.size(), 1).error.kind !=
                    Kind::DuplicateKey) {
                fail_msg("jansson %s: %s", theirs ? "accepts" : "refuses",
                         text.c_str());
            }
        }
    }
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(accepts_valid_documents),
        cmocka_unit_test(refuses_invalid_documents_with_their_place),
        cmocka_unit_test(a_nul_byte_is_no_blank),
        cmocka_unit_test(the_top_level_must_be_an_object),
        cmocka_unit_test(depth_is_limited_as_in_jansson),
        cmocka_unit_test(notes_model_and_stream_of_the_top_level_only),
        cmocka_unit_test(notes_the_kinds_of_model_and_stream),
        cmocka_unit_test(the_models_range_is_the_string_with_its_quotes),
        cmocka_unit_test(refuses_duplicate_top_level_keys),
        cmocka_unit_test(keys_that_look_alike_are_told_apart),
        cmocka_unit_test(content_ends_at_every_byte_that_needs_a_look),
        cmocka_unit_test(refuses_a_model_key_in_another_case),
        cmocka_unit_test(limits_top_level_keys),
        cmocka_unit_test(keeps_little_of_long_names),
        cmocka_unit_test(long_strings_are_values_over_the_limit),
        cmocka_unit_test(lone_surrogates_pass_and_are_noted),
        cmocka_unit_test(numbers_of_any_size_pass),
        cmocka_unit_test(agrees_with_jansson),
        cmocka_unit_test(agrees_with_jansson_on_mutations),
    };
    return cmocka_run_group_tests_name("scanner", tests, nullptr, nullptr);
}
