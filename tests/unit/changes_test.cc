// config/changes: what a reload says has changed.

#include "llm_proxy/config/changes.h"

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

Config load(const Environment &settings)
{
    Environment environment = {
        {"TOKENS_JSON", "[{\"token\":\"demo-key-123\",\"label\":\"demo\"}]"}};
    for (const auto &[name, value] : settings) {
        environment[name] = value;
    }
    Config config;
    std::vector<Problem> problems;
    bool readable = false;
    if (!load_config("", environment, config, problems, readable)) {
        fail_msg("%s", to_string(problems.front()).c_str());
    }
    return config;
}

std::string joined(const std::vector<std::string> &names)
{
    std::string text;
    for (const std::string &name : names) {
        text += (text.empty() ? "" : " ") + name;
    }
    return text;
}

} // namespace

static void equal_configurations_have_no_changes(void **)
{
    const Environment same = {{"VLLM_API_KEY", "s3cret"}, {"WORKERS", "3"}};
    const ConfigChanges none = compare_configs(load(same), load(same));
    assert_string_equal(to_string(none).c_str(), "nothing has changed");
    assert_true(none.restart.empty());
    // Spelled otherwise, but the same token.
    const ConfigChanges spelled = compare_configs(
        load({}), load({{"TOKENS_JSON", "[ {\"label\": \"demo\", "
                                        "\"token\": \"demo-key-123\"} ]"}}));
    assert_string_equal(to_string(spelled).c_str(), "nothing has changed");
}

static void what_is_taken_over_and_what_waits_is_told_apart(void **)
{
    const ConfigChanges changes =
        compare_configs(load({{"PORT", "80"}, {"HEAD_TIMEOUT", "10s"}}),
                        load({{"PORT", "81"},
                              {"WORKERS", "64"},
                              {"CONNECT_TIMEOUT", "7s"},
                              {"LOG_LEVEL", "debug"}}));
    assert_string_equal(joined(changes.settings).c_str(),
                        "PORT CONNECT_TIMEOUT LOG_LEVEL");
    assert_string_equal(joined(changes.restart).c_str(), "WORKERS");
    assert_string_equal(to_string(changes).c_str(),
                        "changed: PORT, CONNECT_TIMEOUT, LOG_LEVEL");
}

static void a_new_secret_is_named_and_never_shown(void **)
{
    const Config before = load(
        {{"VLLM_API_KEY", "first-secret"}, {"OLLAMA_API_KEY", "same-secret"}});
    const Config after = load(
        {{"VLLM_API_KEY", "other-secret"}, {"OLLAMA_API_KEY", "same-secret"}});
    assert_true(before.dump == after.dump); // masked
    const ConfigChanges changes = compare_configs(before, after);
    assert_string_equal(to_string(changes).c_str(), "changed: VLLM_API_KEY");
}

static void tokens_are_told_by_label(void **)
{
    const auto tokens = [](const char *list) {
        return load({{"TOKENS_JSON", list}});
    };
    const Config before =
        tokens("[{\"token\":\"key-aaaaaaaa\",\"label\":\"a\",\"rpm\":5},"
               "{\"token\":\"key-bbbbbbbb\",\"label\":\"b\"},"
               "{\"token\":\"key-cccccccc\",\"label\":\"c\"}]");
    const ConfigChanges changes = compare_configs(
        before,
        tokens("[{\"token\":\"key-dddddddd\",\"label\":\"d\"},"
               "{\"token\":\"key-cccccccc\",\"label\":\"c\"},"
               "{\"token\":\"key-bbbbbbbb\",\"label\":\"b\",\"rpm\":7}]"));
    assert_string_equal(to_string(changes).c_str(),
                        "tokens added: d; tokens removed: a; "
                        "tokens changed: b");
    // Another secret under the same label; each member counts.
    static const char *const members[] = {
        "\"token\":\"key-xxxxxxxx\",\"rpm\":5",
        "\"token\":\"key-aaaaaaaa\",\"rpm\":6",
        "\"token\":\"key-aaaaaaaa\",\"rpm\":5,\"rpd\":1",
        "\"token\":\"key-aaaaaaaa\",\"rpm\":5,\"concurrency\":1",
        "\"token\":\"key-aaaaaaaa\",\"rpm\":5,\"models\":[\"m\"]",
        "\"token\":\"key-aaaaaaaa\",\"rpm\":5,\"disabled\":true",
        R"("token":"key-aaaaaaaa","rpm":5,"expires":"2030-01-01T00:00:00Z")",
    };
    for (const char *member : members) {
        const std::string list = std::string("[{\"label\":\"a\",") + member +
                                 "},{\"token\":\"key-bbbbbbbb\",\"label\":"
                                 "\"b\"},{\"token\":\"key-cccccccc\","
                                 "\"label\":\"c\"}]";
        assert_string_equal(
            to_string(compare_configs(before, tokens(list.c_str()))).c_str(),
            "tokens changed: a");
    }
}

static void of_many_tokens_a_few_are_named(void **)
{
    std::string list = "[{\"token\":\"demo-key-123\",\"label\":\"demo\"}";
    for (int i = 10; i < 35; i++) {
        const std::string n = std::to_string(i);
        list += ",{\"token\":\"key-number-";
        list += n;
        list += "\",\"label\":\"t";
        list += n;
        list += "\"}";
    }
    const ConfigChanges changes =
        compare_configs(load({}), load({{"TOKENS_JSON", list + "]"}}));
    assert_int_equal(changes.tokens_added.size(), 25);
    assert_string_equal(to_string(changes).c_str(),
                        "tokens added: t10, t11, t12, t13, t14, t15, t16, "
                        "t17, t18, t19 and 15 more");
}

static void what_waits_is_named_again(void **)
{
    const Config running = load({{"PORT", "80"}, {"WORKERS", "2"}});
    Config wanted = load({{"PORT", "81"},
                          {"WORKERS", "3"},
                          {"RATE_LIMIT_STORE", "redis"},
                          {"REDIS_URL", "redis://:pass-word@127.0.0.1/0"}});
    const std::string waits = "RATE_LIMIT_STORE REDIS_URL WORKERS";
    assert_string_equal(
        joined(compare_configs(running, wanted).restart).c_str(),
        waits.c_str());
    keep_until_restart(running, wanted);
    assert_int_equal(wanted.listen.front().port, 81);
    assert_int_equal(wanted.workers, 2);
    assert_true(wanted.limit_store == LimitStore::Memory);
    assert_true(wanted.redis_url == running.redis_url);
    assert_string_equal(to_string(compare_configs(running, wanted)).c_str(),
                        "changed: PORT");
    assert_true(compare_configs(running, wanted).restart.empty());
    // The same file again: the same names.
    const Config again =
        load({{"PORT", "81"},
              {"WORKERS", "3"},
              {"RATE_LIMIT_STORE", "redis"},
              {"REDIS_URL", "redis://:pass-word@127.0.0.1/0"}});
    assert_string_equal(joined(compare_configs(wanted, again).restart).c_str(),
                        waits.c_str());
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(equal_configurations_have_no_changes),
        cmocka_unit_test(what_is_taken_over_and_what_waits_is_told_apart),
        cmocka_unit_test(a_new_secret_is_named_and_never_shown),
        cmocka_unit_test(tokens_are_told_by_label),
        cmocka_unit_test(of_many_tokens_a_few_are_named),
        cmocka_unit_test(what_waits_is_named_again),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
