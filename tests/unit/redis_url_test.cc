// config/redis_url: what is read, what is refused, and that no message and no
// log shows a password.

#include "llm_proxy/config/redis_url.h"

#include <string>
#include <string_view>

#include "cmocka.hpp"

using namespace llmproxy;

static void reads_urls(void **)
{
    static const struct {
        const char *text;
        RedisUrl url;
        const char *shown;
    } table[] = {
        {"redis://h", {false, "h", 6379, "", "", "", 0}, "redis://h:6379/0"},
        {"REDIS://h/", {false, "h", 6379, "", "", "", 0}, "redis://h:6379/0"},
        {"redis://127.0.0.1:7000/15",
         {false, "127.0.0.1", 7000, "", "", "", 15},
         "redis://127.0.0.1:7000/15"},
        {"redis://[::1]:7000",
         {false, "::1", 7000, "", "", "", 0},
         "redis://[::1]:7000/0"},
        {"redis://[fe80::1]",
         {false, "fe80::1", 6379, "", "", "", 0},
         "redis://[fe80::1]:6379/0"},
        {"rediss://u:p@h",
         {true, "h", 6379, "", "u", "p", 0},
         "rediss://u:***@h:6379/0"},
        {"redis://:p%40%3a%2F%23%25@h:1/2",
         {false, "h", 1, "", "", "p@:/#%", 2},
         "redis://:***@h:1/2"},
        {"unix:///r", {false, "", 6379, "/r", "", "", 0}, "unix:///r?db=0"},
        {"redis+unix:///run/redis%20x/s?db=3",
         {false, "", 6379, "/run/redis x/s", "", "", 3},
         "unix:///run/redis x/s?db=3"},
        {"unix://u:p@/r?db=1",
         {false, "", 6379, "/r", "u", "p", 1},
         "unix://u:***@/r?db=1"},
    };
    for (const auto &row : table) {
        RedisUrl url;
        Error err;
        assert_true(parse_redis_url(row.text, url, err));
        assert_true(url == row.url);
        assert_string_equal(masked_redis_url(url).c_str(), row.shown);
    }
}

// As long as a host may be, and no longer, with a port and without.
static void bounds_the_host(void **)
{
    for (const char *port : {"", ":6379"}) {
        const std::string text = "redis://" + std::string(255, 'h') + port;
        RedisUrl url;
        RedisUrl again;
        Error err;
        assert_true(parse_redis_url(text, url, err));
        assert_true(parse_redis_url(masked_redis_url(url), again, err));
        assert_true(again == url);
        assert_false(parse_redis_url(text.substr(0, 8) + "h" + text.substr(8),
                                     url, err));
    }
}

static void refuses_others(void **)
{
    static const struct {
        const char *text;
        const char *message; // part of it
    } table[] = {
        {"", "must begin with redis://"},
        {"redis:/h", "must begin with redis://"},
        {"http://h", "must begin with redis://"},
        {"redis://", "needs a host"},
        {"redis:///0", "needs a host"},
        {"redis://:6379", "needs a host"},
        {"redis://h:0", "a port from 1"},
        {"redis://h:65536", "a port from 1"},
        {"redis://h:", "a port from 1"},
        {"redis://h/x", "must be a number"},
        {"redis://h/1/", "must be a number"},
        {"redis://h/-1", "must be a number"},
        {"redis://h/1000001", "must be a number"},
        {"redis://h?db=1", "needs a host"},
        {"redis://h/1?x", "must be a number"},
        {"redis://h#1", "no #"},
        {"redis://a b", "a space"},
        {"redis://h\xc3\xa4", "not ASCII"},
        {"redis://secret@h", "user:password@"},
        {"redis://secret:@h", "user:password@"},
        {"redis://u:sec:ret@h", "%3A"},
        {"redis://u:sec@ret@h", "%40"},
        {"redis://u:sec/ret@h", "%2F"},
        {"redis://u:secret%@h", "%25"},
        {"redis://u:secret%0@h", "%25"},
        {"redis://u:secret%00@h", "%25"},
        {"redis://u%zz:secret@h", "%25"},
        {"unix://", "absolute path"},
        {"unix:///", "absolute path"},
        {"unix://run/x", "absolute path"},
        {"unix:///r?x=1", "only ?db=N"},
        {"unix:///r?db=", "must be a number"},
        {"unix:///r%00", "%25"},
        {"redis://[::1", "needs a host"},
    };
    for (const auto &row : table) {
        RedisUrl url;
        url.host = "untouched";
        Error err;
        assert_false(parse_redis_url(row.text, url, err));
        assert_string_equal(url.host.c_str(), "untouched");
        const std::string_view message = err.message;
        if (message.find(row.message) == std::string_view::npos) {
            fail_msg("%s: %s", row.text, err.message.c_str());
        }
        assert_true(message.find("sec") == std::string_view::npos);
    }
}

static void a_socket_path_has_a_bound(void **)
{
    RedisUrl url;
    Error err;
    const std::string path(106, 'x');
    assert_true(parse_redis_url("unix:///" + path, url, err));
    assert_false(parse_redis_url("unix:///x" + path, url, err));
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_urls),
        cmocka_unit_test(bounds_the_host),
        cmocka_unit_test(refuses_others),
        cmocka_unit_test(a_socket_path_has_a_bound),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
