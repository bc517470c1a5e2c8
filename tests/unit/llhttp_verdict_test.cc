// What llhttp alone makes of every hostile case, in the two versions that
// distributions have: tests/data/llhttp_verdicts.json says it, and where they
// differ. The proxy's own verdicts do not: hostile_parser_test holds them, for
// the header lint judges first. `llhttp_verdict_test --write` prints the table
// with this version's column anew.

#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#include <jansson.h>
#include <llhttp.h>

#include "cmocka.hpp"
#include "hostile_cases.h"

namespace
{

constexpr const char *kTable = TEST_DATA "/llhttp_verdicts.json";
constexpr const char *kVersions[] = {"8", "9"};
constexpr size_t kThis = LLHTTP_VERSION_MAJOR < 9 ? 0 : 1;

struct Verdicts {
    std::string of[2];
};

int count_message(llhttp_t *parser) noexcept
{
    ++*static_cast<int *>(parser->data);
    return HPE_OK;
}

// "refused", "waits" for more, or "takes N": so many whole requests.
std::string verdict(const std::string &bytes)
{
    int messages = 0;
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_message_complete = count_message;
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &messages;
    const llhttp_errno_t code =
        llhttp_execute(&parser, bytes.data(), bytes.size());
    if (code != HPE_OK && code != HPE_PAUSED_UPGRADE) {
        return "refused";
    }
    return messages == 0 ? "waits" : "takes " + std::to_string(messages);
}

bool read_table(std::map<std::string, Verdicts> &out)
{
    json_error_t error;
    json_t *table = json_load_file(kTable, 0, &error);
    if (table == nullptr) {
        fprintf(stderr, "%s: %s\n", kTable, error.text);
        return false;
    }
    const char *id;
    json_t *said;
    json_object_foreach(table, id, said)
    {
        for (size_t i = 0; i < 2; i++) {
            const char *text = json_string_value(
                json_is_string(said) ? said
                                     : json_object_get(said, kVersions[i]));
            out[id].of[i] = text == nullptr ? "" : text;
        }
    }
    json_decref(table);
    return true;
}

void every_verdict_is_in_the_table(void **)
{
    std::map<std::string, Verdicts> table;
    assert_true(read_table(table));
    assert_int_equal(table.size(), cases.size());
    bool as_said = true;
    for (const Case &c : cases) {
        const std::string said = verdict(c.bytes);
        const std::string &wanted = table[c.id].of[kThis];
        if (said != wanted) {
            print_error("%s: llhttp %d %s; the table: %s\n", c.id.c_str(),
                        LLHTTP_VERSION_MAJOR, said.c_str(), wanted.c_str());
            as_said = false;
        }
    }
    assert_true(as_said);
}

int write_table()
{
    std::map<std::string, Verdicts> table;
    if (load_cases(nullptr) != 0 || !read_table(table)) {
        return 1;
    }
    const char *before = "{\n";
    for (const Case &c : cases) {
        Verdicts &row = table[c.id];
        row.of[kThis] = verdict(c.bytes);
        printf("%s  \"%s\": ", before, c.id.c_str());
        if (row.of[0] == row.of[1]) {
            printf("\"%s\"", row.of[0].c_str());
        } else {
            printf("{\"8\": \"%s\", \"9\": \"%s\"}", row.of[0].c_str(),
                   row.of[1].c_str());
        }
        before = ",\n";
    }
    puts("\n}");
    return 0;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--write") == 0) {
        return write_table();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_verdict_is_in_the_table),
    };
    return cmocka_run_group_tests(tests, load_cases, nullptr);
}
