// http/http_parser: events, limits, and that no cut of the input changes them.

#include "llm_proxy/http/http_parser.h"

#include <string>

#include "cmocka.hpp"

using namespace llmproxy;

namespace
{

constexpr char kPost[] = "POST /x HTTP/1.1\r\nHost: a\r\n";

// Feeds `bytes`, in two parts cut at `cut`, and writes down what happened.
// Pieces of a body are joined: where they part depends on the cut.
class Feed
{
public:
    explicit Feed(uint64_t max_body = UINT64_MAX) : max_body_(max_body) {}

    std::string run(const std::string &bytes, size_t cut)
    {
        add(bytes.substr(0, cut));
        add(bytes.substr(cut));
        return said_;
    }
    void add(const std::string &bytes)
    {
        held_ += bytes;
        while (!failed_ && step()) {
        }
    }
    const std::string &said() const { return said_; }
    HttpParser &parser() { return parser_; }

private:
    bool step()
    {
        size_t used = 0;
        const HttpEvent event = parser_.next(held_, used);
        switch (event) {
        case HttpEvent::NeedMore:
            assert_int_equal(used, held_.size());
            break;
        case HttpEvent::Head:
            said_ += "<" + std::string(parser_.head().path) + ">";
            parser_.set_max_body(max_body_);
            break;
        case HttpEvent::Body:
            said_ += parser_.body();
            break;
        case HttpEvent::Complete:
            said_ += ".";
            break;
        case HttpEvent::Fault:
            said_ += "!" + std::to_string(parser_.fault().status);
            failed_ = true;
            break;
        }
        held_.erase(0, used);
        return event != HttpEvent::NeedMore;
    }

    HttpParser parser_{LintLimits()};
    uint64_t max_body_;
    std::string held_;
    std::string said_;
    bool failed_ = false;
};

void check(const std::string &bytes, const char *expected,
           uint64_t max_body = UINT64_MAX)
{
    const size_t step = bytes.size() > 2000 ? bytes.size() / 97 : 1;
    for (size_t cut = 0; cut <= bytes.size(); cut += step) {
        const std::string said = Feed(max_body).run(bytes, cut);
        if (said != expected) {
            print_error("cut at %zu of %zu: %s, wanted %s\n%.300s\n", cut,
                        bytes.size(), said.c_str(), expected, bytes.c_str());
            fail();
        }
    }
}

std::string chunked(const std::string &body)
{
    return std::string(kPost) + "Transfer-Encoding: chunked\r\n\r\n" + body;
}

} // namespace

static void reads_requests_one_after_the_other(void **)
{
    const std::string get = "GET /g HTTP/1.1\r\nHost: a\r\n\r\n";
    const std::string post =
        std::string(kPost) + "Content-Length: 3\r\n\r\nabc";
    const std::string chunks = chunked("1\r\na\r\n2;e=f\r\nbc\r\n0\r\n\r\n");
    const std::string empty = std::string(kPost) + "Content-Length: 0\r\n\r\n";
    check(get + post + chunks + empty + get, "</g>.</x>abc.</x>abc.</x>.</g>.");
    check("\r\n" + get + "\r\n\r\n" + post, "</g>.</x>abc.");
}

static void upgrades_are_not_taken_up(void **)
{
    const std::string upgrade =
        "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx";
    check(kPost + upgrade +
              "GET /g HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\n"
              "Connection: upgrade\r\n\r\n",
          "</x>x.</g>.");
}

static void a_body_may_follow_a_close(void **)
{
    check(std::string(kPost) + "Connection: close\r\n" +
              "Content-Length: 2\r\n\r\nab",
          "</x>ab.");
}

static void what_is_not_http_is_refused_at_the_first_byte(void **)
{
    for (const char *bytes : {"\x16\x03\x01", "*1\r\n$4\r\nPING\r\n",
                              "\x05\x01", " GET", "get /", "\r\n\r\n\x01"}) {
        check(bytes, "!400");
    }
    check(std::string(3, '\0'), "!400");
    check("\r\n\r\n\r\nGET /", "!400"); // L10
    check("\rGET", "!400");
    check("\n", "!400");
}

static void bare_line_feeds_are_refused_as_seen(void **)
{
    check("GET / HTTP/1.1\n", "!400");
    check("GET / HTTP/1.1\r\nHost: a\n", "!400");
}

static void heads_are_bounded_while_incomplete(void **)
{
    const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
    check("GET /" + std::string(9000, 'a'), "!414");
    check(start + "X: " + std::string(40000, 'a'), "!431");
    std::string lines = start;
    while (lines.size() < 40000) {
        lines += "Xxxxxx: yyyyyyy\r\n";
    }
    check(lines, "!431");
    // The last byte that fits, and one more.
    std::string most = start;
    while (most.size() < 24 * 1024) {
        most += "X: " + std::string(1000, 'a') + "\r\n";
    }
    most += "X: " + std::string(32 * 1024 - most.size() - 7, 'a') + "\r\n\r\n";
    assert_int_equal(most.size(), 32 * 1024);
    check(most, "</>.");
    check("GET /" + std::string(8190, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n",
          ("</" + std::string(8190, 'a') + ">.").c_str());
    most.insert(most.size() - 4, "a");
    check(most, "!431");
}

static void bodies_are_bounded(void **)
{
    const std::string five = std::string(kPost) + "Content-Length: 5\r\n\r\n";
    check(five + "abcde", "</x>abcde.", 5);
    check(five + "abcde", "</x>!413", 4);
    check(chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "</x>abcde.", 5);
    // Refused when it is announced, before a byte of it.
    check(chunked("3\r\nabc\r\n3\r\n"), "</x>abc!413", 5);
    check(chunked("7fffffffffffffff\r\n"), "</x>!413", 5);
    check(chunked("ffffffffffffffff\r\n"), "</x>!413", 5);
    check(chunked("10000000000000000\r\n"), "</x>!400", 5);
}

static void chunk_framing_is_strict(void **)
{
    static const struct {
        const char *body;
        const char *said;
    } table[] = {
        {"1\r\na\n", "</x>a!400"},
        {"1\r\nab", "</x>a!400"},
        {"1\n", "</x>!400"},
        {"\r\n", "</x>!400"},
        {" 1\r\n", "</x>!400"},
        {"1 \r\n", "</x>!400"},
        {"1\t\r\n", "</x>!400"},
        {"-1\r\n", "</x>!400"},
        {"0x1\r\n", "</x>!400"},
        {"1_0\r\n", "</x>!400"},
        {";a\r\n", "</x>!400"},
        {"1;a=\"x\r\n", "</x>!400"},
        {"1;a=\"x\\\"\r\n", "</x>!400"},
        {"1;a=\r\r\n", "</x>!400"},
        {"1;a=b\n", "</x>!400"},
        {"0\r\n\rX", "</x>!400"},
        {"0\r\n\n", "</x>!400"},
        {"0\r\nA\r\n\r\n", "</x>!400"},
        {"0\r\n: b\r\n\r\n", "</x>!400"},
        {"0\r\nA: b\r\n c\r\n\r\n", "</x>!400"},
        {"0\r\nA: \x01\r\n\r\n", "</x>!400"},
        {"0\r\nA: b\r\nContent-Length: 9\r\n\r\n", "</x>!400"},
        {"0\r\nTransfer-Encoding: chunked\r\n\r\n", "</x>!400"},
        {"0\r\nA: b\r\nConnection: close\r\n\r\n", "</x>."},
        {"1;a=\"x ;y\";b\r\na\r\n0\r\n\r\n", "</x>a."},
        {"01;a=b\r\na\r\n000\r\n\r\n", "</x>a."},
    };
    for (const auto &row : table) {
        check(chunked(row.body), row.said);
    }
}

static void framing_is_in_proportion_to_the_data(void **)
{
    std::string bytes;
    for (int i = 0; i < 3000; i++) {
        bytes += "1\r\na\r\n";
    }
    check(chunked(bytes + "0\r\n\r\n"),
          ("</x>" + std::string(3000, 'a') + ".").c_str());
    for (int i = 0; i < 3000; i++) {
        bytes += "1\r\na\r\n";
    }
    const std::string said = Feed().run(chunked(bytes), 0);
    assert_string_equal(said.substr(said.size() - 4).c_str(), "!400");
    check(chunked("1;a=" + std::string(17000, 'b') + "\r\n"), "</x>!400");
    check(chunked("0\r\nA: " + std::string(17000, 'b') + "\r\n\r\n"),
          "</x>!400");
    std::string trailers;
    for (int i = 0; i < 3000; i++) {
        trailers += "A: b\r\n";
    }
    check(chunked("0\r\n" + trailers), "</x>!400");
}

static void knows_where_it_stands(void **)
{
    Feed feed;
    assert_true(feed.parser().idle());
    feed.add("\r\n");
    assert_true(feed.parser().idle());
    feed.add("P");
    assert_true(!feed.parser().idle() && feed.parser().in_head());
    feed.add(std::string(kPost).substr(1) + "Content-Length: 1\r\n\r\n");
    assert_true(!feed.parser().idle() && !feed.parser().in_head());
    feed.add("a");
    assert_true(feed.parser().idle());
    assert_string_equal(feed.said().c_str(), "</x>a.");
    // The head can still be read until the next message begins.
    assert_true(feed.parser().head().path == "/x");
}

static void a_fault_is_final(void **)
{
    Feed feed;
    feed.add("\x16");
    size_t used = 0;
    assert_true(feed.parser().next("GET / HTTP/1.1\r\nHost: a\r\n\r\n", used) ==
                HttpEvent::Fault);
    assert_true(feed.parser().next({}, used) == HttpEvent::Fault);
}

static void empty_input_is_no_event(void **)
{
    HttpParser parser{LintLimits()};
    size_t used = 1;
    assert_true(parser.next({}, used) == HttpEvent::NeedMore);
    assert_int_equal(used, 0);
    const std::string head = std::string(kPost) + "Content-Length: 1\r\n\r\n";
    assert_true(parser.next(head, used) == HttpEvent::Head);
    assert_int_equal(used, head.size());
    assert_true(parser.next({}, used) == HttpEvent::NeedMore);
    assert_true(parser.next("ab", used) == HttpEvent::Body);
    assert_int_equal(used, 1);
    assert_true(parser.next({}, used) == HttpEvent::Complete);
    assert_int_equal(used, 0);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_requests_one_after_the_other),
        cmocka_unit_test(upgrades_are_not_taken_up),
        cmocka_unit_test(a_body_may_follow_a_close),
        cmocka_unit_test(what_is_not_http_is_refused_at_the_first_byte),
        cmocka_unit_test(bare_line_feeds_are_refused_as_seen),
        cmocka_unit_test(heads_are_bounded_while_incomplete),
        cmocka_unit_test(bodies_are_bounded),
        cmocka_unit_test(chunk_framing_is_strict),
        cmocka_unit_test(framing_is_in_proportion_to_the_data),
        cmocka_unit_test(knows_where_it_stands),
        cmocka_unit_test(a_fault_is_final),
        cmocka_unit_test(empty_input_is_no_event),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
