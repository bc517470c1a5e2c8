// config/route: which backend a model name goes to, and what is left of it.

#include "llm_proxy/config/route.h"

#include "cmocka.hpp"

using namespace llmproxy;

static Config config_with_default(BackendKind kind)
{
    Config config;
    config.backends[0].name = "ollama";
    config.backends[1].kind = BackendKind::Vllm;
    config.backends[1].name = "vllm";
    config.default_backend = kind;
    return config;
}

static void only_a_backends_prefix_is_taken_off(void **)
{
    static const struct {
        const char *sent;
        const char *backend; // with vllm as default
        const char *model;
    } table[] = {
        {"ollama:llama3.2:3b", "ollama", "llama3.2:3b"},
        {"ollama:hf.co/bartowski/Qwen3-8B-GGUF:Q4_K_M", "ollama",
         "hf.co/bartowski/Qwen3-8B-GGUF:Q4_K_M"},
        {"ollama:registry.lan:5000/team/bot:v2", "ollama",
         "registry.lan:5000/team/bot:v2"},
        {"ollama:ollama:7b", "ollama", "ollama:7b"},
        {"vllm:qwen3", "vllm", "qwen3"},
        {"vllm:ollama:x", "vllm", "ollama:x"},
        {"llama3.2", "vllm", "llama3.2"},
        {"llama3.2:3b", "vllm", "llama3.2:3b"},
        {"Ollama:x", "vllm", "Ollama:x"},
        {"ollama", "vllm", "ollama"},
        {"ollamas:x", "vllm", "ollamas:x"},
        {"openai:gpt", "vllm", "openai:gpt"},
        {":x", "vllm", ":x"},
        {"  ollama:a b  ", "ollama", "a b"},
        {"m\xc3\xa9", "vllm", "m\xc3\xa9"},
    };
    const Config config = config_with_default(BackendKind::Vllm);
    for (const auto &row : table) {
        const std::string sent = row.sent;
        Route route;
        Error err;
        assert_true(route_model(config, sent, route, err));
        assert_string_equal(route.backend->name, row.backend);
        assert_string_equal(std::string(route.model).c_str(), row.model);
        assert_string_equal(
            sent.substr(route.removed_front, route.model.size()).c_str(),
            row.model);
    }
}

static void the_default_backend_is_a_setting(void **)
{
    const Config config = config_with_default(BackendKind::Ollama);
    Route route;
    Error err;
    assert_true(route_model(config, "m", route, err));
    assert_string_equal(route.backend->name, "ollama");
    assert_int_equal(route.removed_front, 0);
}

static void refuses_names_no_backend_could_mean(void **)
{
    static const struct {
        std::string sent;
        const char *message;
    } table[] = {
        {"", "You must provide a model."},
        {"   ", "You must provide a model."},
        {"ollama:", "You must provide a model."},
        {" vllm: ", "You must provide a model."},
        {"a\nb", "The model name holds a control character."},
        {"ollama:a\x7f", "The model name holds a control character."},
        {std::string("a\0b", 3), "The model name holds a control character."},
        {std::string(513, 'm'), "The model name is longer than 512 bytes."},
        {"m" + std::string(1024, ' '),
         "The model name is longer than 512 bytes."},
    };
    const Config config = config_with_default(BackendKind::Ollama);
    for (const auto &row : table) {
        Route route;
        Error err;
        assert_false(route_model(config, row.sent, route, err));
        assert_string_equal(err.message.c_str(), row.message);
        assert_null(route.backend);
    }
    Route route;
    Error err;
    assert_true(route_model(config, std::string(512, 'm'), route, err));
}

static void a_list_of_models_holds_with_and_without_prefix(void **)
{
    const Config config = config_with_default(BackendKind::Ollama);
    constexpr BackendKind ollama = BackendKind::Ollama;
    constexpr BackendKind vllm = BackendKind::Vllm;
    Principal p;
    assert_true(may_use(config, p, ollama, "anything"));
    p.models = {"vllm:llama*", "qwen3"};
    assert_true(may_use(config, p, vllm, "llama3.2:3b"));
    assert_false(may_use(config, p, ollama, "llama3.2:3b"));
    assert_true(may_use(config, p, ollama, "qwen3"));
    // A name alone means the default backend's, as in a request.
    assert_false(may_use(config, p, vllm, "qwen3"));
    assert_false(may_use(config, p, ollama, "qwen3-32b"));
    p.models = {"*"};
    assert_true(may_use(config, p, vllm, "x"));
}

static void a_name_is_shown_so_that_it_can_be_sent_back(void **)
{
    static const struct {
        BackendKind by_default;
        BackendKind backend;
        const char *model;
        const char *prefix; // without MODELS_PREFIX
    } table[] = {
        {BackendKind::Ollama, BackendKind::Ollama, "llama3.2:latest", ""},
        {BackendKind::Ollama, BackendKind::Ollama, "ollama", ""},
        {BackendKind::Ollama, BackendKind::Ollama, "ollama:7b", "ollama:"},
        {BackendKind::Ollama, BackendKind::Ollama, "vllm:7b", "ollama:"},
        {BackendKind::Ollama, BackendKind::Ollama, "vllm/m:7b", ""},
        {BackendKind::Ollama, BackendKind::Ollama, " m", "ollama:"},
        {BackendKind::Ollama, BackendKind::Vllm, "llama3.2", "vllm:"},
        {BackendKind::Vllm, BackendKind::Vllm, "org/Name-7B", ""},
        {BackendKind::Vllm, BackendKind::Vllm, "ollama:x", "vllm:"},
        {BackendKind::Vllm, BackendKind::Ollama, "x", "ollama:"},
    };
    for (const auto &row : table) {
        Config config = config_with_default(row.by_default);
        const char *name =
            config.backends[static_cast<size_t>(row.backend)].name;
        const std::string whole = std::string(name) + ':';
        assert_string_equal(
            shown_prefix(config, row.backend, row.model).c_str(),
            whole.c_str());
        config.models_prefix = false;
        const std::string prefix = shown_prefix(config, row.backend, row.model);
        assert_string_equal(prefix.c_str(), row.prefix);
        const std::string id = prefix + row.model;
        Route route;
        Error err;
        assert_true(route_model(config, id, route, err));
        assert_true(route.backend->kind == row.backend);
        assert_true(route.model == row.model);
    }
}

static void cloud_models_are_known_by_their_tag(void **)
{
    static const struct {
        const char *model;
        bool forbidden;
    } table[] = {
        {"tiny:cloud", true},
        {"gpt-oss:120b-cloud", true},
        {"gpt-oss:20b:cloud", true},
        {"TINY:Cloud", true},
        {"m:1B-CLOUD", true},
        {"acme/bot:v1-cloud", true},
        {"registry.lan:5000/team/bot:cloud", true},
        {"m: cloud", true},
        {"m:cloud \xc2\xa0\xe2\x80\x83", true},
        {"m:\xe3\x80\x80x-cloud", true},
        {"m", false},
        {"cloud", false},
        {"my-cloud", false},
        {"cloud:7b", false},
        {"m:cloudy", false},
        {"m:xcloud", false},
        {"m:cloud-7b", false},
        {"m:cloud:local", false},
        {"m:", false},
        {"x:cloud/m", false},
        {"x:y-cloud/m:7b", false},
        {"registry.lan:5000/my-cloud", false},
    };
    Config config = config_with_default(BackendKind::Ollama);
    for (const auto &row : table) {
        config.ollama_allow_cloud = false;
        if (is_forbidden_cloud(config, BackendKind::Ollama, row.model) !=
            row.forbidden) {
            fail_msg("%s", row.model);
        }
        assert_false(is_forbidden_cloud(config, BackendKind::Vllm, row.model));
        config.ollama_allow_cloud = true;
        assert_false(
            is_forbidden_cloud(config, BackendKind::Ollama, row.model));
    }
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(only_a_backends_prefix_is_taken_off),
        cmocka_unit_test(the_default_backend_is_a_setting),
        cmocka_unit_test(refuses_names_no_backend_could_mean),
        cmocka_unit_test(a_list_of_models_holds_with_and_without_prefix),
        cmocka_unit_test(a_name_is_shown_so_that_it_can_be_sent_back),
        cmocka_unit_test(cloud_models_are_known_by_their_tag),
    };
    return cmocka_run_group_tests_name("route", tests, nullptr, nullptr);
}
