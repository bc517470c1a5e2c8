// The access log's lines: what is there, what is not, and what is long.

#include "llm_proxy/proxy/access_log.h"

#include <string>

#include "cmocka.hpp"

using namespace llmproxy;

static std::string line_of(const AccessRecord &record, LogFormat format)
{
    std::string out = "before\n";
    append_access_line(out, record, 1764288000123, format);
    return out;
}

static void a_record_is_one_line(void **)
{
    AccessRecord record;
    record.id = "req_1";
    record.label = "an\"na";
    record.method = "POST";
    record.model = "m 1";
    record.status = 200;
    record.bytes_in = 12;
    record.total_ms = 0;
    assert_string_equal(
        line_of(record, LogFormat::Text).c_str(),
        "before\nts=2025-11-28T00:00:00.123Z id=req_1 label=an\\x22na peer=- "
        "method=POST endpoint=- model=\"m 1\" backend=- status=200 cause=done "
        "in=12 out=0 limit_ms=- queue_ms=- connect_ms=- first_ms=- total_ms=0 "
        "pieces=0 prompt_tokens=- completion_tokens=- resent=0\n");
    assert_string_equal(
        line_of(record, LogFormat::Json).c_str(),
        "before\n{\"ts\":\"2025-11-28T00:00:00.123Z\",\"id\":\"req_1\","
        "\"label\":\"an\\\\x22na\",\"peer\":null,\"method\":\"POST\","
        "\"endpoint\":null,\"model\":\"m 1\",\"backend\":null,\"status\":200,"
        "\"cause\":\"done\",\"in\":12,\"out\":0,\"limit_ms\":null,"
        "\"queue_ms\":null,\"connect_ms\":null,\"first_ms\":null,"
        "\"total_ms\":0,\"pieces\":0,\"prompt_tokens\":null,"
        "\"completion_tokens\":null,\"resent\":0}\n");
}

// Wherever the line is longer than what is gathered of it at a time.
static void long_words_are_whole_and_in_order(void **)
{
    const AccessRecord none;
    const std::string empty = line_of(none, LogFormat::Text);
    for (const size_t size : {400, 800, 1000, 1023, 1024, 1025, 3000}) {
        const std::string id(size, 'i');
        const std::string endpoint(size, 'e');
        AccessRecord record;
        record.id = id;
        record.endpoint = endpoint;
        std::string wanted = empty;
        wanted.replace(wanted.find("id=-"), 4, "id=" + id);
        wanted.replace(wanted.find("endpoint=-"), 10, "endpoint=" + endpoint);
        assert_string_equal(line_of(record, LogFormat::Text).c_str(),
                            wanted.c_str());
    }
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_one_line),
        cmocka_unit_test(long_words_are_whole_and_in_order),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
