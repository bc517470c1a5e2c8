// Model lists as Ollama and vLLM send them, and as /v1/models shows them.

#include "llm_proxy/adapt/model_list.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <jansson.h>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

constexpr int64_t kNow = 1790000000;

std::vector<ModelEntry> read(BackendKind kind, std::string_view body)
{
    std::vector<ModelEntry> out;
    Error err;
    assert_true(parse_model_list(kind, body, kNow, out, err));
    return out;
}

std::string render(const std::vector<ModelEntry> &entries,
                   const std::string &prefix)
{
    std::vector<ShownModel> shown;
    shown.reserve(entries.size());
    for (const ModelEntry &entry : entries) {
        shown.push_back({&entry, prefix});
    }
    return render_model_list(shown);
}

std::string read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    std::string out;
    char buffer[4096];
    size_t got = 0;
    while ((got = fread(buffer, 1, sizeof buffer, file)) > 0) {
        out.append(buffer, got);
    }
    (void)fclose(file);
    return out;
}

void lists_of_ollama_get_ids_and_owners(void **)
{
    static const struct {
        const char *model;
        const char *wanted; // behind "object":"model"
    } cases[] = {
        {R"({"name":"llama3.2:latest","model":"llama3.2:latest",)"
         R"("modified_at":"2026-08-30T10:00:00.5+02:00"})",
         R"({"id":"ollama:llama3.2:latest","object":"model",)"
         R"("created":1788076800,"owned_by":"library"})"},
        {R"({"name":"acme/bot:v1","model":"",)"
         R"("modified_at":"2026-08-30T08:00:00Z"})",
         R"({"id":"ollama:acme/bot:v1","object":"model",)"
         R"("created":1788076800,"owned_by":"acme"})"},
        {R"({"name":"x","model":"hf.co/some\"one/M-GGUF:Q4",)"
         R"("modified_at":"0001-01-01T00:00:00Z"})",
         R"({"id":"ollama:hf.co/some\"one/M-GGUF:Q4","object":"model",)"
         R"("created":1790000000,"owned_by":"some\"one"})"},
        {R"({"name":"reg:5000/team/bot","modified_at":"soon"})",
         R"({"id":"ollama:reg:5000/team/bot","object":"model",)"
         R"("created":1790000000,"owned_by":"team"})"},
    };
    for (const auto &row : cases) {
        const std::vector<ModelEntry> list =
            read(BackendKind::Ollama,
                 std::string(R"({"models":[{},)") + row.model + "]}");
        assert_int_equal(list.size(), 1);
        assert_string_equal(render_model({&list[0], "ollama:"}).c_str(),
                            row.wanted);
        assert_string_equal(
            render(list, "ollama:").c_str(),
            (std::string(R"({"object":"list","data":[)") + row.wanted + "]}")
                .c_str());
    }
}

void lists_of_vllm_keep_their_members(void **)
{
    const std::vector<ModelEntry> list =
        read(BackendKind::Vllm,
             R"({"object":"list","data":[{"id":"qwen","object":"model",)"
             R"("created":5,"owned_by":"vllm","root":"/m","parent":null,)"
             R"("max_model_len":4096,"permission":[{"id":"p"}]},{"id":7}, 5,)"
             R"({"id":"lora","parent":"qwen"}]})");
    assert_int_equal(list.size(), 2);
    assert_string_equal(list[0].name.c_str(), "qwen");
    assert_string_equal(render_model({&list[0], "vllm:"}).c_str(),
                        R"({"id":"vllm:qwen","object":"model","created":5,)"
                        R"("owned_by":"vllm","root":"/m","parent":null,)"
                        R"("max_model_len":4096,"permission":[{"id":"p"}]})");
    assert_string_equal(render_model({&list[1], "vllm:"}).c_str(),
                        R"({"id":"vllm:lora","parent":"qwen"})");
}

void an_id_keeps_its_place_with_and_without_prefix(void **)
{
    const std::vector<ModelEntry> list =
        read(BackendKind::Vllm,
             R"({"data":[{"object":"model","r\u0022":{"id":1},"id":"a\"b"},)"
             R"({"id":"c"}]})");
    assert_string_equal(list[0].name.c_str(), "a\"b");
    assert_string_equal(
        render(list, "vllm:").c_str(),
        R"({"object":"list","data":[{"object":"model","r\"":{"id":1},)"
        R"("id":"vllm:a\"b"},{"id":"vllm:c"}]})");
    assert_string_equal(
        render(list, "").c_str(),
        R"({"object":"list","data":[{"object":"model","r\"":{"id":1},)"
        R"("id":"a\"b"},{"id":"c"}]})");
}

void dates_are_read_exactly(void **)
{
    static const struct {
        const char *date;
        int64_t wanted;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2024-02-29T23:59:59Z", 1709251199},
        {"2026-09-01T08:30:00.123456789Z", 1788251400},
        {"2026-09-01T08:30:00-01:30", 1788256800},
        {"2026-09-01T08:30:00", kNow},
        {"2026-09-01 08:30:00Z", kNow},
        {"2026-13-01T08:30:00Z", kNow},
        {"2026-09-01T25:30:00Z", kNow},
        {"2026-09-01T08:30:00+25:00", kNow},
        {"2026-09-01T08:30:00Zx", kNow},
        {"2026-09-01T08:30:00+0130", kNow},
        {"1969-12-31T23:59:59Z", kNow},
        {"", kNow},
    };
    for (const auto &row : cases) {
        const std::vector<ModelEntry> list =
            read(BackendKind::Ollama,
                 std::string(R"({"models":[{"name":"m","modified_at":")") +
                     row.date + R"("}]})");
        std::string wanted = "\"created\":";
        append_u64(wanted, static_cast<uint64_t>(row.wanted));
        wanted += ',';
        if (list[0].json.find(wanted) == std::string::npos) {
            print_error("%s: %s\n", row.date, list[0].json.c_str());
            fail();
        }
    }
}

void empty_lists_are_lists(void **)
{
    assert_true(read(BackendKind::Ollama, R"({"models":[]})").empty());
    assert_true(read(BackendKind::Ollama, R"({"models":null})").empty());
    assert_true(read(BackendKind::Vllm, R"({"data":[]})").empty());
    assert_string_equal(render({}, "").c_str(),
                        R"({"object":"list","data":[]})");
}

void what_is_no_list_is_refused(void **)
{
    for (const char *body : {"", "<html>", "[]", "{}", R"({"models":{}})",
                             R"({"data":"x"})", R"({"error":"x"})"}) {
        for (const BackendKind kind :
             {BackendKind::Ollama, BackendKind::Vllm}) {
            std::vector<ModelEntry> out(1);
            Error err;
            assert_false(parse_model_list(kind, body, kNow, out, err));
            assert_false(err.message.empty());
            assert_int_equal(out.size(), 1);
        }
    }
}

void models_are_found_by_their_whole_name(void **)
{
    const std::vector<ModelEntry> list =
        read(BackendKind::Vllm,
             R"({"data":[{"id":"qwen"},{"id":"x:latest"},{"id":"org/m"}]})");
    for (const char *name : {"qwen", "x:latest", "org/m"}) {
        assert_string_equal(find_model(list, name)->name.c_str(), name);
    }
    for (const char *name : {"", "x", "Qwen", "vllm:qwen", "m", "qwen "}) {
        assert_null(find_model(list, name));
    }
}

void example_e25_is_shown_to_the_byte(void **)
{
    json::Ptr example;
    Error err;
    assert_true(
        json::parse(read_file(TEST_DATA "/models/e25.json"), example, err));
    const std::vector<ModelEntry> list =
        read(BackendKind::Ollama,
             json::string_of(json::get(example.get(), "reply")));
    const json_t *wanted =
        json::get(json::get(example.get(), "client"), "json");
    assert_string_equal(render(list, "ollama:").c_str(),
                        json::dump(wanted).c_str());
}

void recorded_tags_are_read(void **)
{
    const std::string text = read_file(TEST_DATA "/ollama/recorded.jsonl");
    size_t lists = 0;
    for (const std::string_view line : split_list(text, '\n')) {
        json::Ptr record;
        Error err;
        assert_true(json::parse(line, record, err));
        const std::string_view name =
            json::string_of(json::get(record.get(), "name"));
        if (starts_with(name, "tags")) {
            const std::vector<ModelEntry> list =
                read(BackendKind::Ollama,
                     json::string_of(json::get(record.get(), "body")));
            assert_int_equal(list.empty(), name == "tags_empty");
            for (const ModelEntry &entry : list) {
                assert_true(starts_with(entry.json, R"({"id":")" + entry.name));
                assert_true(ends_with(entry.json, R"("owned_by":"library"})"));
            }
            lists++;
        }
    }
    assert_int_equal(lists, 2);
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_ollama_get_ids_and_owners),
        cmocka_unit_test(lists_of_vllm_keep_their_members),
        cmocka_unit_test(dates_are_read_exactly),
        cmocka_unit_test(empty_lists_are_lists),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(models_are_found_by_their_whole_name),
        cmocka_unit_test(an_id_keeps_its_place_with_and_without_prefix),
        cmocka_unit_test(example_e25_is_shown_to_the_byte),
        cmocka_unit_test(recorded_tags_are_read),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
