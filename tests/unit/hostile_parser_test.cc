// Runs every hostile case through the parser alone, whole and in small
// pieces: the verdict must be the one that the case asks for, and it must not
// depend on the cut. What the proxy decides later (paths, tokens, JSON) is
// tested over sockets.
#include "llm_proxy/http/http_parser.h"

#include <cstring>
#include <string>

#include "cmocka.hpp"
#include "hostile_cases.h"

using namespace llmproxy;

namespace
{

// What the parser says, as text: heads, bodies, ends, the fault.
std::string verdict(const std::string &bytes, size_t step)
{
    HttpParser parser{LintLimits()};
    std::string out;
    bool in_body = false;
    std::string held; // what a connection would not have consumed yet
    for (size_t at = 0; at < bytes.size(); at += step) {
        held += bytes.substr(at, step);
        for (;;) {
            size_t used = 0;
            const HttpEvent event = parser.next(held, used);
            if (event == HttpEvent::Fault) {
                return out + "fault " + std::to_string(parser.fault().status);
            }
            if (event == HttpEvent::Head) {
                const RequestHead &head = parser.head();
                parser.set_max_body(20 << 20);
                out += std::string("head ") + method_name(head.method) + " " +
                       std::string(head.path) + "\n";
                in_body = false;
            } else if (event == HttpEvent::Body) {
                out += in_body ? "" : "body ";
                out += parser.body();
                in_body = true;
            } else if (event == HttpEvent::Complete) {
                out += "complete\n";
            }
            held.erase(0, used);
            if (event == HttpEvent::NeedMore) {
                break;
            }
        }
    }
    return out + (parser.idle() ? "idle" : "waiting");
}

bool begins(const std::string &text, const char *prefix)
{
    return text.compare(0, strlen(prefix), prefix) == 0;
}

int fault_status(const std::string &text)
{
    const size_t at = text.rfind("fault ");
    return at == std::string::npos ? 0 : atoi(text.c_str() + at + 6);
}

bool expects(const Case &c, int status)
{
    for (const int expected : c.expected) {
        if (expected == status) {
            return true;
        }
    }
    return false;
}

// The cut decides nothing.
void verdict_is_the_same_in_every_cut(void **)
{
    int runs = 0;
    for (const Case &c : cases) {
        const std::string whole = verdict(c.bytes, c.bytes.size());
        for (const size_t step : {1, 2, 3, 7}) {
            const std::string cut = verdict(c.bytes, step);
            if (cut != whole) {
                print_error("%s in pieces of %zu:\n%s\nwhole:\n%s\n",
                            c.id.c_str(), step, cut.c_str(), whole.c_str());
                fail();
            }
            runs++;
        }
    }
    print_message("hostile cases: %zu, in %d cuts\n", cases.size(), runs);
    assert_int_equal(cases.size(), 229);
}

// Cases of these groups are settled by head and framing, unless the proxy
// does it at the head.
void bad_framing_is_refused(void **)
{
    const std::string groups = "fr cl ch rl hd ho";
    int judged = 0;
    for (const Case &c : cases) {
        if (groups.find(c.group) == std::string::npos || !c.must_close) {
            continue;
        }
        bool only_errors = true;
        bool later = false; // a status that the proxy gives after the head
        for (const int status : c.expected) {
            only_errors = only_errors && (status >= 400 || status == 0);
            later = later || status == 413 || status == 401 || status == 404;
        }
        if (!only_errors) {
            continue;
        }
        const std::string said = verdict(c.bytes, c.bytes.size());
        const int status = fault_status(said);
        if (status == 0 ? !later || !begins(said, "head ")
                        : !expects(c, status)) {
            print_error("%s: %s\n", c.id.c_str(), said.c_str());
            fail();
        }
        judged++;
    }
    assert_in_range(judged, 90, cases.size());
}

void good_requests_pass(void **)
{
    int judged = 0;
    for (const Case &c : cases) {
        if (c.group != "ok") {
            continue;
        }
        const std::string said = verdict(c.bytes, c.bytes.size());
        if (!begins(said, "head ") ||
            said.find("complete\n") == std::string::npos ||
            fault_status(said) != 0) {
            print_error("%s: %s\n", c.id.c_str(), said.c_str());
            fail();
        }
        judged++;
    }
    assert_in_range(judged, 20, cases.size());
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdict_is_the_same_in_every_cut),
        cmocka_unit_test(bad_framing_is_refused),
        cmocka_unit_test(good_requests_pass),
    };
    return cmocka_run_group_tests(tests, load_cases, nullptr);
}
