// base: strings, digests, ids, descriptors and the clock.

#include "llm_proxy/base/base64.h"
#include "llm_proxy/base/clock.h"
#include "llm_proxy/base/digest.h"
#include "llm_proxy/base/fd.h"
#include "llm_proxy/base/ids.h"
#include "llm_proxy/base/strings.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "cmocka.hpp"

using namespace llmproxy;

static void compares_without_case(void **)
{
    assert_true(iequals("Content-Length", "cONTENT-lENGTH"));
    assert_false(iequals("a", "ab"));
    assert_false(iequals("[", "{")); // 0x20 apart, but no letters
    assert_int_equal(ifind("xxBearer", "bEARER"), 2);
    assert_true(ifind("bear", "bearer") == std::string_view::npos);
    assert_string_equal(to_lower("AbZ[").c_str(), "abz[");
}

static void trims_and_splits(void **)
{
    assert_true(trim(" \t a b \t") == "a b");
    assert_true(trim(" \t").empty());
    assert_true(trim("\va") == "\va");
    const std::vector<std::string_view> parts = split_list(" a,, b ,", ',');
    assert_int_equal(parts.size(), 2);
    assert_true(parts[0] == "a" && parts[1] == "b");
    assert_true(split_list("", ',').empty());
    assert_true(ends_with("abc", "bc") && !ends_with("c", "bc"));
    assert_true(starts_with("abc", "ab") && !starts_with("a", "ab"));
}

static void parses_whole_numbers_only(void **)
{
    uint64_t value = 7;
    assert_true(parse_u64("18446744073709551615", value));
    assert_true(value == UINT64_MAX);
    assert_true(parse_u64("007", value));
    assert_int_equal(value, 7);
    for (const char *bad : {"", " 1", "+1", "-1", "1 ", "0x1", "1.0",
                            "18446744073709551616", "99999999999999999999"}) {
        assert_false(parse_u64(bad, value));
    }
    assert_int_equal(value, 7);
    std::string out;
    append_u64(out, 0);
    append_u64(out, UINT64_MAX);
    assert_string_equal(out.c_str(), "018446744073709551615");
    for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10) {
        for (const uint64_t number : {power - 1, power, power * 7 + 5}) {
            out.clear();
            append_u64(out, number);
            assert_string_equal(out.c_str(), std::to_string(number).c_str());
        }
    }
}

static void decodes_percent_once(void **)
{
    std::string out = "before";
    assert_false(percent_decode("%4", out));
    assert_false(percent_decode("a%zz", out));
    assert_string_equal(out.c_str(), "before");
    assert_true(percent_decode("a%2Fb%253a+", out));
    assert_string_equal(out.c_str(), "a/b%3a+");
}

static void proposes_the_nearest_name(void **)
{
    const std::vector<std::string_view> names = {"PORT", "HOST",
                                                 "MAX_BODY_BYTES"};
    assert_true(nearest_name("PROT", names) == "PORT"); // a swap is one
    assert_true(nearest_name("PORTS", names) == "PORT");
    assert_true(nearest_name("MAX_BODY_SIZE", names) == "MAX_BODY_BYTES");
    assert_true(nearest_name("SOMETHING", names).empty());
}

static void matches_patterns(void **)
{
    static const struct {
        const char *pattern;
        const char *text;
        bool matches;
    } table[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "abc", true},
        {"a*", "abc", true},
        {"a*", "ba", false},
        {"*c", "abc", true},
        {"*c", "abcd", false},
        {"a*c", "ac", true},
        {"a*a", "a", false},
        {"a*b*c", "axbxbc", true},
        {"**", "x", true},
        {"a.c", "abc", false},
        {"*ab*ab", "ab", false},
        {"*aab", "aaab", true},
    };
    for (const auto &row : table) {
        if (match_pattern(row.pattern, row.text) != row.matches) {
            print_error("%s against %s\n", row.pattern, row.text);
            fail();
        }
    }
}

// RFC 4648, section 10.
static void writes_base64(void **)
{
    static const struct {
        const char *bytes;
        const char *wanted;
    } cases[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/"},
        {"\xff\xff\xff\xff", "/////w=="},
    };
    for (const auto &row : cases) {
        std::string out = "x";
        append_base64(out, row.bytes);
        assert_string_equal(out.c_str(),
                            (std::string("x") + row.wanted).c_str());
    }
    std::string zeros;
    append_base64(zeros, std::string_view("\0\0", 2));
    assert_string_equal(zeros.c_str(), "AAA=");
}

static void computes_sha256(void **)
{
    // FIPS 180-4's own examples.
    assert_string_equal(
        hex(sha256("abc")).c_str(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(
        hex(sha256("")).c_str(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_string_equal(hex(sha256("abc"), 9).c_str(), "ba7816bf8");
    assert_true(equal_constant_time(sha256("a"), sha256("a")));
    assert_false(equal_constant_time(sha256("a"), sha256("b")));
}

static void reads_hex_digests(void **)
{
    const std::string text = hex(sha256("abc"));
    Sha256 out = {};
    assert_true(parse_hex(text, out));
    assert_true(out == sha256("abc"));
    std::string upper = text;
    upper[0] = 'B';
    assert_true(parse_hex(upper, out));
    assert_false(parse_hex(text.substr(1), out));
    assert_false(parse_hex("g" + text.substr(1), out));
    std::string secret = "secret";
    wipe(secret);
    assert_true(secret.empty());
}

static void ids_are_hex_and_differ(void **)
{
    std::set<std::string> seen;
    for (int i = 0; i < 1000; i++) {
        std::string id = "req_";
        append_random_hex(id, 21);
        assert_int_equal(id.size(), 25);
        assert_true(id.find_first_not_of("0123456789abcdef", 4) ==
                    std::string::npos);
        seen.insert(id);
    }
    assert_int_equal(seen.size(), 1000);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) != -1;
}

static void descriptors_are_closed_once(void **)
{
    const int number = dup(STDERR_FILENO);
    {
        Fd first(number);
        Fd second(std::move(first));
        assert_int_equal(second.get(), number);
        assert_true(is_open(number));
    }
    assert_false(is_open(number));
    Fd fd(dup(STDERR_FILENO));
    const int released = fd.release();
    assert_false(fd.valid());
    assert_true(is_open(released));
    fd.reset(released);
    fd.reset();
    assert_false(is_open(released));
}

static void clocks_run(void **)
{
    const SystemClock clock;
    const int64_t before = clock.mono_ms();
    assert_true(clock.mono_ms() >= before);
    assert_true(clock.wall_ms() > INT64_C(1700000000000));
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_without_case),
        cmocka_unit_test(trims_and_splits),
        cmocka_unit_test(parses_whole_numbers_only),
        cmocka_unit_test(decodes_percent_once),
        cmocka_unit_test(proposes_the_nearest_name),
        cmocka_unit_test(matches_patterns),
        cmocka_unit_test(writes_base64),
        cmocka_unit_test(computes_sha256),
        cmocka_unit_test(reads_hex_digests),
        cmocka_unit_test(ids_are_hex_and_differ),
        cmocka_unit_test(descriptors_are_closed_once),
        cmocka_unit_test(clocks_run),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
