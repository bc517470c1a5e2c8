// http/url: base URLs of backends, host[:port].

#include "llm_proxy/http/url.h"

#include "cmocka.hpp"

using namespace llmproxy;

static void accepts_base_urls(void **)
{
    static const struct {
        const char *text;
        const char *url;
        const char *authority;
        bool tls;
    } table[] = {
        {"http://127.0.0.1:11434", "http://127.0.0.1:11434", "127.0.0.1:11434",
         false},
        {"HTTPS://gpu.lan/", "https://gpu.lan", "gpu.lan", true},
        {"http://[::1]:8000/v1//", "http://[::1]:8000/v1", "[::1]:8000", false},
        {"http://h/a%20b", "http://h/a%20b", "h", false},
        {"http://my_host:65535", "http://my_host:65535", "my_host:65535",
         false},
    };
    for (const auto &row : table) {
        BaseUrl url;
        Error err;
        assert_true(parse_base_url(row.text, url, err));
        assert_string_equal(url.text.c_str(), row.url);
        assert_string_equal(url.authority.c_str(), row.authority);
        assert_int_equal(url.tls, row.tls);
    }
}

static void refuses_other_urls(void **)
{
    static const struct {
        const char *text;
        const char *message; // part of it
    } table[] = {
        {"", "http://"},
        {"127.0.0.1:11434", "http://"},
        {"ftp://h", "http://"},
        {"http://", "host"},
        {"http:///x", "host"},
        {"http://h:0", "port"},
        {"http://h:65536", "port"},
        {"http://h:", "port"},
        {"http://h:80a", "port"},
        {"http://::1", "brackets"},
        {"http://[::1", "brackets"},
        {"http://[]", "brackets"},
        {"http://u:p@h", "user"},
        {"http://h/?a", "query"},
        {"http://h#a", "fragment"},
        {"http://h /", "space"},
        {"http://h\n", "control"},
        {"http://h\xc3\xa9", "ASCII"},
        {"http://a,http://b", "host"},
    };
    for (const auto &row : table) {
        BaseUrl url;
        url.text = "before";
        Error err;
        if (parse_base_url(row.text, url, err) ||
            err.message.find(row.message) == std::string::npos) {
            print_error("%s: %s\n", row.text, err.message.c_str());
            fail();
        }
        assert_string_equal(url.text.c_str(), "before");
    }
}

static void strips_one_path_segment(void **)
{
    static const struct {
        const char *text;
        const char *stripped;
    } table[] = {
        {"http://h/v1", "http://h"},       {"http://h/api/v1/", "http://h/api"},
        {"http://h/v1/v1", "http://h/v1"}, {"http://h/xv1", "http://h/xv1"},
        {"http://h", "http://h"},          {"http://v1", "http://v1"},
    };
    for (const auto &row : table) {
        BaseUrl url;
        Error err;
        assert_true(parse_base_url(row.text, url, err));
        strip_path_suffix(url, "/v1");
        assert_string_equal(url.text.c_str(), row.stripped);
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_base_urls),
        cmocka_unit_test(refuses_other_urls),
        cmocka_unit_test(strips_one_path_segment),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
