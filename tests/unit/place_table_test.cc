// place_table: a place is used again, an id is not.

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "../../src/upstream/place_table.h"
#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

void test_what_was_taken_is_found_by_nobody(void **)
{
    PlaceTable<int> table;
    assert_null(table.find(0));
    assert_null(table.take(0).get());
    const uint64_t first = table.put(std::make_unique<int>(1));
    assert_int_not_equal(first, 0);
    assert_int_equal(*table.find(first), 1);
    assert_int_equal(*table.take(first), 1);
    assert_null(table.find(first));
    assert_null(table.take(first).get());
    assert_null(table.find(0));

    const uint64_t second = table.put(std::make_unique<int>(2));
    assert_int_not_equal(second, first);
    assert_null(table.find(first));
    assert_null(table.take(first).get());
    assert_int_equal(*table.find(second), 2);
}

void test_it_does_what_a_map_does(void **)
{
    std::mt19937 random(1);
    PlaceTable<int> table;
    std::map<uint64_t, int> map;
    std::vector<uint64_t> given = {0};
    std::set<uint64_t> ever;
    for (int i = 0; i < 20000; i++) {
        if (random() % 2 == 0) {
            const uint64_t id = table.put(std::make_unique<int>(i));
            assert_true(ever.insert(id).second);
            map.emplace(id, i);
            given.push_back(id);
            continue;
        }
        const uint64_t id = given[random() % given.size()];
        const auto found = map.find(id);
        const std::unique_ptr<int> taken = table.take(id);
        assert_int_equal(taken == nullptr, found == map.end());
        if (taken != nullptr) {
            assert_int_equal(*taken, found->second);
            map.erase(found);
        }
    }
    std::vector<uint64_t> ids = table.ids();
    std::sort(ids.begin(), ids.end());
    assert_int_equal(ids.size(), map.size());
    size_t at = 0;
    for (const auto &[id, thing] : map) {
        assert_int_equal(ids[at++], id);
        assert_int_equal(*table.find(id), thing);
        const int wanted = thing;
        assert_true(table.any([wanted](int has) { return has == wanted; }));
    }
    assert_false(table.any([](int has) { return has < 0; }));
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_taken_is_found_by_nobody),
        cmocka_unit_test(test_it_does_what_a_map_does),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
