// config/tokens: what a token list may say, every way it can be wrong, and
// who a presented token stands for.

#include "llm_proxy/config/settings.h"
#include "llm_proxy/config/tokens.h"

#include <cstring>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

struct Loaded {
    TokenTable table;
    std::vector<Problem> problems;
};

Loaded load(std::string text, const char *where = "tokens.json",
            bool is_file = true)
{
    Loaded loaded;
    parse_tokens(text, where, is_file, loaded.table, loaded.problems);
    // Nothing of the text may stay, whatever the result.
    assert_int_equal(text.find_first_not_of('\0'), std::string::npos);
    return loaded;
}

std::string only_problem(const std::string &text)
{
    const Loaded loaded = load(text);
    if (loaded.problems.size() != 1) {
        for (const Problem &problem : loaded.problems) {
            print_error("%s\n", to_string(problem).c_str());
        }
        fail_msg("%zu problems: %s", loaded.problems.size(), text.c_str());
    }
    return to_string(loaded.problems[0]);
}

// One token that is right but for the members given.
std::string token_with(const std::string &members)
{
    return "[{\"token\":\"demo-key-123\",\"label\":\"demo\"," + members + "}]";
}

Principal principal_with(const std::string &members)
{
    const Loaded loaded = load(token_with(members));
    if (!loaded.problems.empty()) {
        fail_msg("%s", to_string(loaded.problems[0]).c_str());
    }
    return loaded.table.principals()[0];
}

} // namespace

static void reads_every_member(void **)
{
    const Principal p = principal_with(
        "\"rpm\":60,\"rpd\":1000,\"concurrency\":4,\"models\":[\"ollama:*\","
        "\"qwen3\"],\"disabled\":true,\"expires\":1800000000");
    assert_string_equal(p.label.c_str(), "demo");
    assert_true(p.digest == sha256("demo-key-123"));
    assert_int_equal(p.rpm, 60);
    assert_int_equal(p.rpd, 1000);
    assert_int_equal(p.concurrency, 4);
    assert_int_equal(p.models.size(), 2);
    assert_string_equal(p.models[1].c_str(), "qwen3");
    assert_true(p.disabled);
    assert_int_equal(p.expires_s, 1800000000);
}

static void absent_and_null_members_mean_no_restriction(void **)
{
    const Principal p = principal_with(
        "\"rpm\":null,\"rpd\":null,\"concurrency\":null,\"models\":null,"
        "\"disabled\":null,\"expires\":null,\"token_sha256\":null");
    assert_int_equal(p.rpm, 0);
    assert_int_equal(p.rpd, 0);
    assert_int_equal(p.concurrency, 0);
    assert_true(p.models.empty());
    assert_false(p.disabled);
    assert_int_equal(p.expires_s, 0);
}

static void finds_by_token_and_by_given_digest(void **)
{
    const Loaded loaded =
        load("[{\"token\":\"demo-key-123\",\"label\":\"a\"},"
             "{\"token_sha256\":\"" +
             hex(sha256("other-key-456")) + "\",\"label\":\"b\"}]");
    assert_int_equal(loaded.problems.size(), 0);
    assert_int_equal(loaded.table.size(), 2);
    assert_string_equal(loaded.table.find("demo-key-123")->label.c_str(), "a");
    assert_string_equal(loaded.table.find("other-key-456")->label.c_str(), "b");
    assert_null(loaded.table.find("demo-key-124"));
    assert_null(loaded.table.find("demo-key-12"));
    assert_null(loaded.table.find(""));
    assert_null(loaded.table.find(hex(sha256("other-key-456"))));
}

static void expires_takes_dates_times_and_seconds(void **)
{
    static const struct {
        const char *value;
        int64_t seconds;
    } table[] = {
        {"\"2027-01-31\"", 1801353600},
        {"\"2000-02-29\"", 951782400},
        {"\"2100-03-01\"", 4107542400},
        {"\"2027-01-31T12:30:45Z\"", 1801398645},
        {"\"2027-01-31t12:30:45.678z\"", 1801398645},
        {"\"2027-01-31T12:30:45+02:00\"", 1801391445},
        {"\"2027-01-31 12:30:45-05:30\"", 1801418445},
        {"1", 1},
    };
    for (const auto &row : table) {
        const Principal p =
            principal_with("\"expires\":" + std::string(row.value));
        assert_int_equal(p.expires_s, row.seconds);
    }
    for (const char *value : {"0",
                              "-1",
                              "1.5",
                              "true",
                              "\"\"",
                              "\"2027\"",
                              "\"2027-1-31\"",
                              "\"2027-13-01\"",
                              "\"2027-02-29\"",
                              "\"2100-02-29\"",
                              "\"2027-00-10\"",
                              "\"2027-01-00\"",
                              "\"2027-01-31T\"",
                              "\"2027-01-31T12:00\"",
                              "\"2027-01-31T12:00:00\"",
                              "\"2027-01-31T24:00:00Z\"",
                              "\"2027-01-31T12:00:00.Z\"",
                              "\"2027-01-31T12:00:00Zx\"",
                              "\"2027-01-31T12:00:00+2:00\"",
                              "\"2027-01-31T12:00:00+02:00x\"",
                              "\"31.01.2027\"",
                              "\"1969-12-31\"",
                              "\"-027-01-31\"",
                              "\"1800000000\""}) {
        const std::string problem =
            only_problem(token_with("\"expires\":" + std::string(value)));
        assert_non_null(strstr(problem.c_str(), "expires must be a date"));
    }
}

static void names_what_is_wrong_with_a_token(void **)
{
    static const struct {
        const char *text;
        const char *problem;
    } table[] = {
        {"[5]", "token 1: must be an object, not an integer"},
        {"[{\"token\":\"demo-key-123\"}]",
         "token 1: a label is missing (the name that logs show)"},
        {"[{\"token\":\"demo-key-123\",\"label\":7}]",
         "token 1: label must be a string, not an integer"},
        {"[{\"token\":\"demo-key-123\",\"label\":\"\"}]",
         "token 1: label must be 1 to 64 characters of A-Z a-z 0-9 . _ @ -"},
        {"[{\"token\":\"demo-key-123\",\"label\":\"a b\"}]",
         "token 1: label must be 1 to 64 characters of A-Z a-z 0-9 . _ @ -"},
        {"[{\"label\":\"a\"}]", "token 1 (\"a\"): exactly one of \"token\" "
                                "and \"token_sha256\" is needed"},
        {"[{\"token\":\"demo-key-123\",\"token_sha256\":\"00\",\"label\":"
         "\"a\"}]",
         "token 1 (\"a\"): exactly one of \"token\" and \"token_sha256\" is "
         "needed"},
        {"[{\"token\":\"short-7\",\"label\":\"a\"}]",
         "token 1 (\"a\"): token must be at least 8 characters long"},
        {"[{\"token\":\"with blank\",\"label\":\"a\"}]",
         "token 1 (\"a\"): token may hold only A-Z a-z 0-9 - . _ ~ + / = (RFC "
         "6750)"},
        {"[{\"token\":\"nul\\u0000inside\",\"label\":\"a\"}]",
         "token 1 (\"a\"): token may hold only A-Z a-z 0-9 - . _ ~ + / = (RFC "
         "6750)"},
        {"[{\"token\":12345678,\"label\":\"a\"}]",
         "token 1 (\"a\"): token must be a string, not an integer"},
        {"[{\"token_sha256\":\"abc\",\"label\":\"a\"}]",
         "token 1 (\"a\"): token_sha256 must be a string of 64 hex digits"},
    };
    for (const auto &row : table) {
        assert_string_equal(
            only_problem(row.text).c_str(),
            ("tokens.json:1: " + std::string(row.problem)).c_str());
    }
}

static void names_what_is_wrong_with_a_member(void **)
{
    static const struct {
        const char *members;
        const char *problem;
    } table[] = {
        {"\"rpm\":0", "rpm must be at least 1 (leave it out for no limit)"},
        {"\"rpd\":-5", "rpd must be at least 1 (leave it out for no limit)"},
        {"\"concurrency\":0",
         "concurrency must be at least 1 (leave it out for no limit)"},
        {"\"rpm\":1.5", "rpm must be a whole number, not a fraction"},
        {"\"rpm\":\"60\"", "rpm must be a whole number, not a string"},
        {"\"models\":\"a\"",
         "models must be an array of patterns, not a string"},
        {"\"models\":[]", "models must hold at least one pattern (leave it "
                          "out to allow every model)"},
        {"\"models\":[\"a\",1]", "models must hold only patterns, strings of "
                                 "at least one character"},
        {"\"models\":[\"\"]", "models must hold only patterns, strings of at "
                              "least one character"},
        {"\"disabled\":1", "disabled must be true or false, not an integer"},
        {"\"rpms\":60", "unknown member \"rpms\"; did you mean \"rpm\"?"},
        {"\"expire\":1", "unknown member \"expire\"; did you mean "
                         "\"expires\"?"},
        {"\"comment\":\"x\"", "unknown member \"comment\""},
        {"\"sk-s3cret-key\":1", "unknown member"},
    };
    for (const auto &row : table) {
        assert_string_equal(
            only_problem(token_with(row.members)).c_str(),
            ("tokens.json:1: token 1 (\"demo\"): " + std::string(row.problem))
                .c_str());
    }
}

static void reports_all_problems_with_their_lines(void **)
{
    const Loaded loaded =
        load("[\n"
             "  {\"token\":\"demo-key-123\", \"label\":\"a]\\\"\""
             "}, {\"token\":\"demo-key-124\",\n"
             "   \"label\":\"bob\", \"models\":[\"a\",\"b\"],"
             "\n   \"rpm\":0, \"rpd\":0},\n\n"
             "  {\"label\":\"c\"}\n]");
    static const char *const wanted[] = {
        "tokens.json:2: token 1: label must be 1 to 64 characters of A-Z a-z "
        "0-9 . _ @ -",
        "tokens.json:2: token 2 (\"bob\"): rpm must be at least 1 (leave it "
        "out for no limit)",
        "tokens.json:2: token 2 (\"bob\"): rpd must be at least 1 (leave it "
        "out for no limit)",
        "tokens.json:6: token 3 (\"c\"): exactly one of \"token\" and "
        "\"token_sha256\" is needed",
    };
    assert_int_equal(loaded.problems.size(), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(to_string(loaded.problems[i]).c_str(), wanted[i]);
    }
}

static void duplicates_are_named_by_label(void **)
{
    assert_string_equal(
        only_problem("[{\"token\":\"demo-key-123\",\"label\":\"a\"},\n"
                     "{\"token_sha256\":\"" +
                     hex(sha256("demo-key-123")) + "\",\"label\":\"b\"}]")
            .c_str(),
        "tokens.json:2: token 2 (\"b\"): the same token as \"a\"");
    assert_string_equal(
        only_problem("[{\"token\":\"demo-key-123\",\"label\":\"a\"},\n"
                     "{\"token\":\"demo-key-124\",\"label\":\"a\"}]")
            .c_str(),
        "tokens.json:2: token 2 (\"a\"): an earlier token has the same label");
}

static void the_whole_must_be_a_json_array_of_tokens(void **)
{
    assert_string_equal(only_problem("[]").c_str(),
                        "tokens.json:1: the list holds no token");
    assert_non_null(strstr(only_problem("{\"token\":\"demo-key-123\"}").c_str(),
                           "tokens.json:1: the tokens must be an array"));
    for (const char *text :
         {"", "\n\n[{\"token\":\"s3cret-key\",}]", "[{\"token\":\"s3cret-key",
          "s3cret-key", "[{\"s3cret\":1,\"s3cret\":1}]"}) {
        const std::string problem = only_problem(text);
        assert_non_null(strstr(problem.c_str(), ": not valid JSON: "));
        assert_null(strstr(problem.c_str(), "s3cret"));
    }
    const Loaded loaded = load("[1\n2]", "environment: TOKENS_JSON", false);
    assert_string_equal(to_string(loaded.problems[0]).c_str(),
                        "environment: TOKENS_JSON: not valid JSON: ']' "
                        "expected (line 2, column 1)");
    assert_string_equal(only_problem("[1,\n2 3]").substr(0, 14).c_str(),
                        "tokens.json:2:");
}

static void no_problem_ever_holds_a_token(void **)
{
    const char secret[] = "s3cret-key";
    for (const char *text : {
             "[{\"token\":\"s3cret-key\",\"label\":\"a\"},{\"token\":\"s3cret-"
             "key\",\"label\":\"b\"}]",
             "[{\"token\":\"s3cret-key \",\"label\":\"a\"}]",
             "[{\"token\":\"s3cret-key\"}]",
             "[{\"token_sha256\":\"s3cret-key\",\"label\":\"a\"}]",
             "[{\"tokn\":\"s3cret-key\",\"label\":\"a\"}]",
             "[{\"s3cret-key\":{\"label\":\"a\"}}]",
             "[{\"label\":\"s3cret-key!\"}]",
             "[\"s3cret-key\"]",
             "{\"s3cret-key\":1}",
         }) {
        const Loaded loaded = load(text);
        assert_true(!loaded.problems.empty());
        for (const Problem &problem : loaded.problems) {
            assert_null(strstr(to_string(problem).c_str(), secret));
        }
    }
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_member),
        cmocka_unit_test(absent_and_null_members_mean_no_restriction),
        cmocka_unit_test(finds_by_token_and_by_given_digest),
        cmocka_unit_test(expires_takes_dates_times_and_seconds),
        cmocka_unit_test(names_what_is_wrong_with_a_token),
        cmocka_unit_test(names_what_is_wrong_with_a_member),
        cmocka_unit_test(reports_all_problems_with_their_lines),
        cmocka_unit_test(duplicates_are_named_by_label),
        cmocka_unit_test(the_whole_must_be_a_json_array_of_tokens),
        cmocka_unit_test(no_problem_ever_holds_a_token),
    };
    return cmocka_run_group_tests_name("tokens", tests, nullptr, nullptr);
}
