// What Ollama says of single models, and as what /v1/models/{id} shows it.

#include "llm_proxy/adapt/model_detail.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <jansson.h>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

constexpr int64_t kNow = 1790000000;
constexpr char kJsonType[] = "application/json; charset=utf-8";

struct Reply {
    int status = 200;
    std::string body;
    std::string content_type = kJsonType;
    std::vector<Field> fields; // more of the head
};

// Of the model "acme/m:7b", the body cut behind `first` bytes and then after
// each `step`.
ModelDetail read(const Reply &reply, size_t first = SIZE_MAX,
                 size_t step = SIZE_MAX, const char *name = "acme/m:7b")
{
    ModelDetailReader reader(name, "ollama", kNow);
    ReplyHead head;
    head.status = reply.status;
    head.fields = reply.fields;
    head.fields.push_back({"Content-Type", reply.content_type});
    std::string_view body = reply.body;
    bool more = reader.head(head);
    for (size_t size = first; more && !body.empty(); size = step) {
        const std::string piece(body.substr(0, size));
        body.remove_prefix(piece.size());
        more = reader.data(piece);
    }
    assert_int_equal(reader.failed(), !more);
    return reader.finish();
}

std::string shown(const ModelDetail &detail)
{
    return detail.members.empty() ? api_error_body(detail.error)
                                  : render_model_detail("ID", detail);
}

void the_question_names_the_model(void **)
{
    BackendConfig backend;
    UpstreamRequest asked = model_detail_request("a\"b:7b", backend);
    assert_true(asked.post);
    assert_string_equal(asked.path.c_str(), "/api/show");
    const UpstreamRequest moved = std::move(asked);
    assert_int_equal(moved.body.size(), 1);
    assert_string_equal(std::string(moved.body[0]).c_str(),
                        R"({"model":"a\"b:7b","verbose":false})");
    assert_int_equal(moved.headers.size(), 2);
    backend.api_key = "key";
    assert_string_equal(
        model_detail_request("m", backend).headers.back().c_str(),
        "Authorization: Bearer key");
}

// The recordings, with what a client gets of each behind its id.
void recorded_answers_are_shown(void **)
{
    static const std::map<std::string_view, std::string_view> wanted = {
        {"show_tiny", R"(1795458944,"owned_by":"library",)"
                      R"("capabilities":["completion"],)"
                      R"("context_length":2048})"},
        {"show_tiny-think", R"(1795458944,"owned_by":"library",)"
                            R"("capabilities":["completion","thinking"],)"
                            R"("context_length":2048})"},
        {"show_tiny-tools", R"(1795458944,"owned_by":"library",)"
                            R"("capabilities":["completion","tools"],)"
                            R"("context_length":2048})"},
        {"show_tiny-insert", R"(1795458943,"owned_by":"library",)"
                             R"("capabilities":["completion","insert"],)"
                             R"("context_length":2048})"},
        {"show_tiny-native", R"(1795459037,"owned_by":"library",)"
                             R"("capabilities":["completion"],)"
                             R"("context_length":2048})"},
        {"show_tiny-nativetools",
         R"(1795458944,"owned_by":"library",)"
         R"("capabilities":["tools","thinking","completion"],)"
         R"("context_length":2048})"},
        {"show_tiny-parser",
         R"(1795458944,"owned_by":"library",)"
         R"("capabilities":["completion","tools","thinking"],)"
         R"("context_length":2048})"},
        {"show_minilm", R"(1795458720,"owned_by":"library",)"
                        R"("capabilities":["embedding"],)"
                        R"("context_length":512})"},
        {"show_params", R"(1795460316,"owned_by":"library",)"
                        R"("capabilities":["completion"],)"
                        R"("context_length":2048})"},
        {"show_missing", "model 'nope:latest' not found"},
        {"show_missing_t0", "model 'nope:latest' not found"},
        {"show_name", "model 'nope:latest' not found"},
        {"show_missing_tag", "model 'nope:7b' not found"},
        {"show_bad_name", "invalid model name"},
        {"show_badname", "invalid model name"},
        {"show_empty", "model is required"},
        {"show_empty_t0", "model is required"},
        {"show_bad_json", "unexpected EOF"},
    };
    static const std::map<std::string_view, std::string_view> same = {
        {"show_verbose_false", "show_tiny"},
        {"show_tag", "show_tiny"},
        {"show_case", "show_tiny"},
    };
    FILE *file = fopen(TEST_DATA "/models/recorded.jsonl", "rb");
    assert_non_null(file);
    std::string text;
    char buffer[4096];
    size_t got = 0;
    while ((got = fread(buffer, 1, sizeof buffer, file)) > 0) {
        text.append(buffer, got);
    }
    (void)fclose(file);
    size_t records = 0;
    for (const std::string_view line : split_list(text, '\n')) {
        json::Ptr record;
        Error err;
        assert_true(json::parse(line, record, err));
        std::string_view name =
            json::string_of(json::get(record.get(), "name"));
        name = same.count(name) == 0 ? name : same.at(name);
        int64_t status = 0;
        assert_true(json::get_int(record.get(), "status", status));
        Reply reply;
        reply.status = static_cast<int>(status);
        reply.body = json::string_of(json::get(record.get(), "body"));
        const char *model = "tiny";
        const ModelDetail whole = read(reply, SIZE_MAX, SIZE_MAX, model);
        if (status == 200) {
            assert_string_equal(shown(whole).c_str(),
                                (R"({"id":"ID","object":"model","created":)" +
                                 std::string(wanted.at(name)))
                                    .c_str());
        } else {
            assert_int_equal(api_error_status(whole.error), status);
            assert_string_equal(whole.error.message.c_str(),
                                std::string(wanted.at(name)).c_str());
            assert_true((whole.error.kind == ApiErrorKind::ModelNotFound) ==
                        (status == 404));
        }
        assert_string_equal(shown(read(reply, 1, 1, model)).c_str(),
                            shown(whole).c_str());
        for (size_t cut = 1; cut < reply.body.size(); cut += 97) {
            assert_string_equal(
                shown(read(reply, cut, SIZE_MAX, model)).c_str(),
                shown(whole).c_str());
        }
        records++;
    }
    assert_int_equal(records, wanted.size() + same.size());
}

void only_what_is_said_is_shown(void **)
{
    static const struct {
        const char *said; // beside the details
        const char *wanted;
    } cases[] = {
        {"", R"("created":1790000000,"owned_by":"acme"})"},
        {R"(,"modified_at":"2026-08-30T08:00:00Z")",
         R"("created":1788076800,"owned_by":"acme"})"},
        {R"(,"capabilities":[])",
         R"("created":1790000000,"owned_by":"acme","capabilities":[]})"},
        {R"(,"capabilities":null,"model_info":null)",
         R"("created":1790000000,"owned_by":"acme"})"},
        {R"(,"capabilities":["a\"b",7,null,"\u0000c"])",
         R"("created":1790000000,"owned_by":"acme",)"
         R"("capabilities":["a\"b","\u0000c"]})"},
        {R"(,"capabilities":"tools","model_info":[])",
         R"("created":1790000000,"owned_by":"acme"})"},
        {R"(,"model_info":{"general.architecture":"qwen3",)"
         R"("qwen3.context_length":40960})",
         R"("created":1790000000,"owned_by":"acme",)"
         R"("context_length":40960})"},
        {R"(,"model_info":{"general.architecture":"qwen3",)"
         R"("llama.context_length":40960})",
         R"("created":1790000000,"owned_by":"acme"})"},
        {R"(,"model_info":{"llama.context_length":40960})",
         R"("created":1790000000,"owned_by":"acme"})"},
        {R"(,"model_info":{"general.architecture":"l",)"
         R"("l.context_length":0})",
         R"("created":1790000000,"owned_by":"acme"})"},
        {R"(,"model_info":{"general.architecture":"l",)"
         R"("l.context_length":"8"})",
         R"("created":1790000000,"owned_by":"acme"})"},
    };
    for (const auto &row : cases) {
        Reply reply;
        reply.body = std::string(R"({"details":{})") + row.said + '}';
        assert_string_equal(
            shown(read(reply)).c_str(),
            (std::string(R"({"id":"ID","object":"model",)") + row.wanted)
                .c_str());
    }
}

void refusals_become_openais(void **)
{
    static const struct {
        int status;
        const char *body;
        ApiErrorKind kind;
    } cases[] = {
        {400, R"({"error":"invalid model name"})",
         ApiErrorKind::InvalidRequest},
        {401, R"({"error":"unauthorized"})", ApiErrorKind::BackendAuth},
        {403, "", ApiErrorKind::BackendAuth},
        {404, R"({"error":"model 'm:latest' not found"})",
         ApiErrorKind::ModelNotFound},
        {404, "404 page not found", ApiErrorKind::BackendBadResponse},
        {405, "405 method not allowed", ApiErrorKind::BackendBadResponse},
        {429, "", ApiErrorKind::BackendRateLimited},
        {500, R"({"error":"cannot read the manifest"})",
         ApiErrorKind::BackendFailed},
        {502, "<html>", ApiErrorKind::BackendError},
        {503, R"({"error":"server busy"})", ApiErrorKind::BackendBusy},
        {504, "", ApiErrorKind::BackendTimeout},
        {301, "", ApiErrorKind::BackendBadResponse},
        {204, "", ApiErrorKind::BackendBadResponse},
        {200, "", ApiErrorKind::BackendBadResponse},
        {200, "{", ApiErrorKind::BackendBadResponse},
        {200, "[]", ApiErrorKind::BackendBadResponse},
        {200, "{}", ApiErrorKind::BackendBadResponse},
        {200, R"({"details":[]})", ApiErrorKind::BackendBadResponse},
        {200, R"({"details":{}} x)", ApiErrorKind::BackendBadResponse},
        {200, R"({"error":"x","details":{}})", ApiErrorKind::BackendFailed},
    };
    for (const auto &row : cases) {
        Reply reply;
        reply.status = row.status;
        reply.body = row.body;
        const ModelDetail detail = read(reply);
        assert_true(detail.members.empty());
        if (detail.error.kind != row.kind) {
            fail_msg("%d %s: %s", row.status, row.body, shown(detail).c_str());
        }
        assert_false(detail.error.message.empty());
    }
    Reply page;
    page.body = R"({"details":{}})";
    page.content_type = "text/html";
    assert_true(read(page).error.kind == ApiErrorKind::BackendBadResponse);
    page.content_type = kJsonType;
    page.fields = {{"Content-Encoding", "gzip"}};
    assert_true(read(page).error.kind == ApiErrorKind::BackendBadResponse);
    Reply limited;
    limited.status = 429;
    limited.fields = {{"Retry-After", "7"}};
    assert_int_equal(api_error_retry_after(read(limited).error), 7);
}

void what_is_read_and_kept_is_bounded(void **)
{
    const std::string rest = R"({"details":{},"license":")";
    Reply reply;
    reply.body =
        rest + std::string((size_t{8} << 20) - rest.size() - 2, 'x') + "\"}";
    assert_false(read(reply, 4096, 65536).members.empty());
    reply.body.insert(1, " ");
    ModelDetail detail = read(reply, 4096, 65536);
    assert_true(detail.error.kind == ApiErrorKind::BackendBadResponse);
    assert_string_equal(detail.error.message.c_str(),
                        "The backend says more than 8 MiB about the model.");

    reply.body = R"({"details":{},"capabilities":[")" + std::string(5000, 'x') +
                 R"("]})";
    detail = read(reply);
    assert_true(detail.members.empty());
    assert_true(detail.error.kind == ApiErrorKind::BackendBadResponse);

    reply.status = 500;
    reply.body = R"({"error":")" + std::string(100000, 'x') + R"("})";
    detail = read(reply);
    assert_true(detail.error.kind == ApiErrorKind::BackendFailed);
    assert_int_equal(detail.error.message.size(), 1024);
    reply.body = std::string(size_t{3} << 20, 'x');
    assert_int_equal(read(reply, 1000, 1000).error.message.size(), 1024);
}

void owners_are_namespaces(void **)
{
    static const struct {
        const char *name;
        const char *owner;
    } cases[] = {
        {"tiny", "library"},
        {"library/tiny:latest", "library"},
        {"registry.ollama.ai/library/tiny:latest", "library"},
        {"hf.co/bartowski/Qwen3-8B-GGUF:Q4_K_M", "bartowski"},
        {"registry.lan:5000/team/bot:v2", "team"},
        {"acme/bot", "acme"},
    };
    for (const auto &row : cases) {
        Reply reply;
        reply.body = R"({"details":{}})";
        const std::string wanted =
            std::string(R"("owned_by":")") + row.owner + "\"";
        const ModelDetail detail = read(reply, SIZE_MAX, SIZE_MAX, row.name);
        assert_true(ends_with(detail.members, wanted));
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_question_names_the_model),
        cmocka_unit_test(recorded_answers_are_shown),
        cmocka_unit_test(only_what_is_said_is_shown),
        cmocka_unit_test(refusals_become_openais),
        cmocka_unit_test(what_is_read_and_kept_is_bounded),
        cmocka_unit_test(owners_are_namespaces),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
