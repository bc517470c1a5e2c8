#ifndef LLM_PROXY_TESTS_UNIT_HOSTILE_CASES_H
#define LLM_PROXY_TESTS_UNIT_HOSTILE_CASES_H

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <jansson.h>

// The raw requests of tests/data/hostile.json.
struct Case {
    std::string id;
    std::string group;
    std::string bytes;
    std::vector<int> expected;
    bool must_close = false;
};

inline std::vector<Case> cases;

inline int base64_value(char c)
{
    const char *alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        "0123456789+/";
    const char *found = c == '\0' ? nullptr : strchr(alphabet, c);
    return found == nullptr ? -1 : static_cast<int>(found - alphabet);
}

inline std::string base64_decode(const char *text)
{
    std::string out;
    unsigned bits = 0;
    int count = 0;
    for (; *text != '\0' && *text != '='; text++) {
        bits = bits << 6 | static_cast<unsigned>(base64_value(*text));
        count += 6;
        if (count >= 8) {
            count -= 8;
            out += static_cast<char>(bits >> count & 0xff);
        }
    }
    return out;
}

// A group setup of cmocka.
inline int load_cases(void **)
{
    json_error_t error;
    json_t *list = json_load_file(TEST_DATA "/hostile.json", 0, &error);
    if (list == nullptr) {
        fprintf(stderr, "hostile.json: %s\n", error.text);
        return -1;
    }
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item)
    {
        Case c;
        c.id = json_string_value(json_object_get(item, "id"));
        c.group = json_string_value(json_object_get(item, "group"));
        c.bytes = base64_decode(
            json_string_value(json_object_get(item, "raw_base64")));
        c.must_close = json_is_true(json_object_get(item, "must_close"));
        const json_t *statuses = json_object_get(item, "expect_status");
        for (size_t i = 0; i < json_array_size(statuses); i++) {
            c.expected.push_back(static_cast<int>(
                json_integer_value(json_array_get(statuses, i))));
        }
        cases.push_back(c);
    }
    json_decref(list);
    return 0;
}

#endif
