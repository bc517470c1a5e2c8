// http/header_lint: rules L1 to L11, one row a rule and edge.

#include "llm_proxy/http/header_lint.h"

#include <string>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

struct Refused {
    const char *block; // "|" stands for CRLF
    int status;
    const char *rule;
};

std::string expand(const std::string &text)
{
    std::string out;
    for (const char c : text) {
        out += c == '|' ? std::string("\r\n") : std::string(1, c);
    }
    return out;
}

void check_refused(const std::string &block, int status, const char *rule)
{
    RequestHead head;
    HttpFault fault;
    if (lint_head(block, LintLimits(), head, fault) || fault.status != status ||
        std::string(fault.rule) != rule || fault.message[0] == '\0') {
        print_error("%s\nwanted %d %s, got %d %s\n", block.c_str(), status,
                    rule, fault.status, fault.rule);
        fail();
    }
}

RequestHead accept(const std::string &block)
{
    RequestHead head;
    HttpFault fault;
    if (!lint_head(block, LintLimits(), head, fault)) {
        print_error("%s\n%d %s %s\n", block.c_str(), fault.status, fault.rule,
                    fault.message);
        fail();
    }
    return head;
}

} // namespace

static void refuses_by_rule(void **)
{
    static const Refused table[] = {
        {"GET / HTTP/1.1|Host: a|", 400, "L1"}, // no end
        {"GET / HTTP/1.1\nHost: a||", 400, "L1"},
        {"GET / HTTP/1.1|Host: a|X: y\n|", 400, "L1"},
        {"GET / HTTP/1.1|Host: a||x", 400, "L1"}, // something behind the end
        {"|", 400, "L2"},
        {"GET /|Host: a||", 400, "L2"},
        {"GET  / HTTP/1.1|Host: a||", 400, "L2"},
        {"GET /  HTTP/1.1|Host: a||", 400, "L2"},
        {"GET / HTTP/1.1 |Host: a||", 400, "L2"},
        {" GET / HTTP/1.1|Host: a||", 400, "L2"},
        {"GET\t/ HTTP/1.1|Host: a||", 400, "L2"},
        {"G@T / HTTP/1.1|Host: a||", 400, "L2"},
        {"GET /a#b HTTP/1.1|Host: a||", 400, "L2"},
        {"GET /\x7f HTTP/1.1|Host: a||", 400, "L2"},
        {"GET /\xc3\xa9 HTTP/1.1|Host: a||", 400, "L2"},
        {"GET / HTTP/1.1\r|Host: a||", 400, "L2"},
        {"GET / http/1.1|Host: a||", 400, "L2"},
        {"GET / HTTP/1.1x|Host: a||", 400, "L2"},
        {"GET / HTTP/01.1|Host: a||", 400, "L2"},
        {"GET / ICE/1.0|Host: a||", 400, "L2"},
        {"GET / HTTP/1.2|Host: a||", 505, "L2"},
        {"GET / HTTP/2.0|Host: a||", 505, "L2"},
        {"GET / HTTP/0.9|Host: a||", 505, "L2"},
        {"POSTX / HTTP/1.1|Host: a||", 501, "L9"},
        {"POSTX / HTTP/3.0|Host: a||", 505, "L2"},
        {"post / HTTP/1.1|Host: a||", 501, "L9"},
        {"CONNECT a:443 HTTP/1.1|Host: a||", 400, "L9"},
        {"PRI * HTTP/2.0||", 400, "L9"},
        {"POST * HTTP/1.1|Host: a||", 400, "L9"},
        {"GET a HTTP/1.1|Host: a||", 400, "L9"},
        {"GET a:80 HTTP/1.1|Host: a||", 400, "L9"},
        {"GET file:///x HTTP/1.1|Host: a||", 400, "L9"},
        {"GET http:///x HTTP/1.1|Host: a||", 400, "L9"},
        {"GET http://u:p@a/x HTTP/1.1|Host: a||", 400, "L9"},
        {"GET / HTTP/1.1|Host: a|NoColon||", 400, "L3"},
        {"GET / HTTP/1.1|Host: a|: v||", 400, "L3"},
        {"GET / HTTP/1.1|Host : a||", 400, "L3"},
        {"GET / HTTP/1.1|Host: a|X: a| b||", 400, "L3"},
        {"GET / HTTP/1.1| X: a|Host: a||", 400, "L3"},
        {"GET / HTTP/1.1|Host: a|X: a\rb||", 400, "L3"},
        {"GET / HTTP/1.1|Host: a|X: \x1b||", 400, "L3"},
        {"GET / HTTP/1.1|Host: a|X\xc3: b||", 400, "L3"},
        {"GET / HTTP/1.1||", 400, "L5"},
        {"GET / HTTP/1.1|Host: a|host: a||", 400, "L5"},
        {"GET / HTTP/1.0|Host: a|Host: a||", 400, "L5"},
        {"GET / HTTP/1.1|Host: a/b||", 400, "L5"},
        {"GET / HTTP/1.1|Host: u@a||", 400, "L5"},
        {"GET / HTTP/1.1|Host: a:80:80||", 400, "L5"},
        {"GET / HTTP/1.1|Host: a:99999||", 400, "L5"},
        {"GET / HTTP/1.1|Host: a, b||", 400, "L5"},
        {"GET / HTTP/1.1|Host: [::1||", 400, "L5"},
        {"GET / HTTP/1.1|Host: [::g]||", 400, "L5"},
        {"GET / HTTP/1.1|Host: [::1]x||", 400, "L5"},
        {"POST / HTTP/1.1|Host: a|Transfer-Encoding:||", 400, "L6"},
        {"POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip||", 501, "L6"},
        {"POST / HTTP/1.1|Host: a|Transfer-Encoding: ,chunked||", 400, "L6"},
        {"POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip, chunked||", 400,
         "L6"},
        {"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|"
         "transfer-encoding: chunked||",
         400, "L6"},
        {"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|"
         "Content-Length: 0||",
         400, "L6"},
        {"POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked||", 400, "L6"},
        {"POST / HTTP/1.1|Host: a|Content-Length:||", 400, "L7"},
        {"POST / HTTP/1.1|Host: a|Content-Length: +1||", 400, "L7"},
        {"POST / HTTP/1.1|Host: a|Content-Length: 1, 1||", 400, "L7"},
        {"POST / HTTP/1.1|Host: a|Content-Length: 00000000000000000001||", 400,
         "L7"},
        {"POST / HTTP/1.1|Host: a|Content-Length: 1|Content-Length: 1||", 400,
         "L7"},
        {"GET / HTTP/1.1|Host: a|Authorization: x|authorization: x||", 400,
         "L11"},
    };
    for (const Refused &row : table) {
        check_refused(expand(row.block), row.status, row.rule);
    }
    const std::string nul("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 34);
    check_refused(nul, 400, "L3");
}

static void holds_the_limits(void **)
{
    const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
    std::string fields;
    for (int i = 0; i < 99; i++) {
        fields += "X: y\r\n";
    }
    (void)accept(start + fields + "\r\n");
    check_refused(start + fields + "X_Y: z\r\n\r\n", 431, "L4");

    const std::string target = "/" + std::string(8191, 'a');
    const std::string rest = " HTTP/1.1\r\nHost: a\r\n\r\n";
    (void)accept("GET " + target + rest);
    check_refused("GET " + target + "a" + rest, 414, "L4");

    const std::string line = "X: " + std::string(16 * 1024 - 3, 'a');
    (void)accept(start + line + "\r\n\r\n");
    check_refused(start + line + "a\r\n\r\n", 431, "L4");
    check_refused(start + line + "\r\n" + line + "\r\n\r\n", 431, "L4");
    check_refused("GET / HTTP/1.1\r\nHost: " + std::string(256, 'a') +
                      "\r\n\r\n",
                  400, "L5");
}

static void reads_a_head(void **)
{
    const std::string block =
        expand("POST /v1/x?a=b?c HTTP/1.1|Host: [::1]:80|X-Twin: 1|"
               "X_Twin: 2|Content-LENGTH: 67|X:  caf\xe9 ||");
    const RequestHead head = accept(block);
    assert_true(head.method == Method::Post);
    assert_int_equal(head.minor_version, 1);
    assert_true(head.target == "/v1/x?a=b?c");
    assert_true(head.path == "/v1/x");
    assert_true(head.query == "a=b?c");
    assert_true(head.has_length && !head.chunked);
    assert_int_equal(head.content_length, 67);
    assert_true(head.keep_alive && !head.expect_continue);
    assert_int_equal(head.fields.size(), 4);
    assert_null(find_field(head.fields, "x_twin"));
    assert_true(*find_field(head.fields, "x") == "caf\xe9");
}

static void absolute_targets_lose_their_authority(void **)
{
    static const struct {
        const char *target;
        const char *path;
        const char *query;
    } table[] = {
        {"http://other:80/v1/x?q", "/v1/x", "q"},
        {"HTTPS://other", "/", ""},
        {"http://other?q", "/", "q"},
        {"/v1/http://x", "/v1/http://x", ""},
        {"//v1", "//v1", ""},
    };
    for (const auto &row : table) {
        const std::string block =
            std::string("GET ") + row.target + " HTTP/1.1\r\nHost: a\r\n\r\n";
        const RequestHead head = accept(block);
        assert_true(head.target == row.target);
        assert_true(head.path == row.path);
        assert_true(head.query == row.query);
    }
    const std::string star = "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n";
    assert_true(accept(star).path == "*");
}

static void decides_about_keep_alive_and_expectations(void **)
{
    static const struct {
        const char *block;
        bool keep_alive;
        bool expect_continue;
    } table[] = {
        {"GET / HTTP/1.1|Host: a||", true, false},
        {"GET / HTTP/1.1|Host: a|Connection: x, Close||", false, false},
        {"GET / HTTP/1.1|Host: a|Connection: keep-alive|Connection: close||",
         false, false},
        {"GET / HTTP/1.0||", false, false},
        {"GET / HTTP/1.0|Connection: Keep-Alive||", true, false},
        {"GET / HTTP/1.0|Connection: keep-alive, close||", false, false},
        {"POST / HTTP/1.1|Host: a|Expect: 100-Continue||", true, true},
        {"POST / HTTP/1.1|Host: a|Expect: else||", true, false},
        {"POST / HTTP/1.0|Expect: 100-continue||", false, false},
    };
    for (const auto &row : table) {
        const std::string block = expand(row.block);
        const RequestHead head = accept(block);
        if (head.keep_alive != row.keep_alive ||
            head.expect_continue != row.expect_continue) {
            print_error("%s\n", row.block);
            fail();
        }
    }
}

// The head is used again for each request of a connection.
static void nothing_of_an_earlier_head_is_left(void **)
{
    const std::string first =
        expand("POST /x?q HTTP/1.0|Content-Length: 3|Connection: keep-alive||");
    const std::string second = expand("GET / HTTP/1.1|Host: a||");
    RequestHead head;
    HttpFault fault;
    assert_true(lint_head(first, LintLimits(), head, fault));
    assert_true(lint_head(second, LintLimits(), head, fault));
    assert_true(head.method == Method::Get && head.query.empty());
    assert_true(!head.has_length && head.content_length == 0);
    assert_int_equal(head.fields.size(), 1);
}

static void judges_trailers(void **)
{
    HttpFault fault;
    const LintLimits limits;
    assert_true(lint_trailers("\r\n", limits, fault));
    assert_true(lint_trailers("A: b\r\nHost: c\r\n\r\n", limits, fault));
    for (const char *bad :
         {"A: b\r\n c\r\n\r\n", "A: b\n\r\n", ": b\r\n\r\n", "A\r\n\r\n",
          "A: \x01\r\n\r\n", "A: b\r\nCONTENT-LENGTH: 5\r\n\r\n",
          "Transfer-Encoding: chunked\r\n\r\n", "A: b\r\n", ""}) {
        fault = HttpFault();
        assert_false(lint_trailers(bad, limits, fault));
        assert_int_equal(fault.status, 400);
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_by_rule),
        cmocka_unit_test(holds_the_limits),
        cmocka_unit_test(reads_a_head),
        cmocka_unit_test(absolute_targets_lose_their_authority),
        cmocka_unit_test(decides_about_keep_alive_and_expectations),
        cmocka_unit_test(nothing_of_an_earlier_head_is_left),
        cmocka_unit_test(judges_trailers),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
