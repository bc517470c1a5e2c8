// listener: a name with several addresses, of which the machine lacks some.

#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include "../../src/daemon/listener.h"
#include "cmocka.hpp"

using namespace llmproxy;

// What the resolver says, instead of the system's.
static sockaddr_in6 six;
static sockaddr_in four;
static addrinfo results[2];

extern "C" int getaddrinfo(const char *, const char *, const addrinfo *,
                           addrinfo **out)
{
    *out = results;
    return 0;
}

extern "C" void freeaddrinfo(addrinfo *) {}

// 2001:db8::/32 and 192.0.2.0/24 are nobody's.
static void resolve_to(const char *first, const char *second)
{
    six = sockaddr_in6();
    six.sin6_family = AF_INET6;
    inet_pton(AF_INET6, first, &six.sin6_addr);
    four = sockaddr_in();
    four.sin_family = AF_INET;
    inet_pton(AF_INET, second, &four.sin_addr);
    memset(results, 0, sizeof(results));
    results[0].ai_family = AF_INET6;
    results[0].ai_addr = reinterpret_cast<sockaddr *>(&six);
    results[0].ai_addrlen = sizeof(six);
    results[0].ai_next = &results[1];
    results[1].ai_family = AF_INET;
    results[1].ai_addr = reinterpret_cast<sockaddr *>(&four);
    results[1].ai_addrlen = sizeof(four);
}

static ListenAddress address()
{
    ListenAddress address;
    address.text = "name:0";
    address.host = "name";
    return address;
}

static void leaves_out_what_the_machine_lacks(void **)
{
    resolve_to("2001:db8::1", "127.0.0.1");
    std::vector<Listener> listeners;
    ListenError err;
    assert_true(open_listener(address(), listeners, err));
    assert_int_equal(listeners.size(), 1);
    assert_true(listeners[0].name.rfind("127.0.0.1:", 0) == 0);
}

static void fails_if_it_lacks_all(void **)
{
    resolve_to("2001:db8::1", "192.0.2.1");
    std::vector<Listener> listeners;
    ListenError err;
    assert_false(open_listener(address(), listeners, err));
    assert_true(listeners.empty());
    assert_int_equal(err.code, EADDRNOTAVAIL);
    assert_string_equal(err.message.c_str(),
                        "cannot listen on name:0: bind: Cannot assign "
                        "requested address");
}

static void fails_if_one_is_taken(void **)
{
    resolve_to("2001:db8::1", "127.0.0.1");
    std::vector<Listener> first;
    ListenError err;
    assert_true(open_listener(address(), first, err));
    sockaddr_in bound{};
    socklen_t length = sizeof(bound);
    assert_int_equal(getsockname(first[0].fd.get(),
                                 reinterpret_cast<sockaddr *>(&bound), &length),
                     0);
    four.sin_port = bound.sin_port;
    std::vector<Listener> second;
    assert_false(open_listener(address(), second, err));
    assert_int_equal(err.code, EADDRINUSE);
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(leaves_out_what_the_machine_lacks),
        cmocka_unit_test(fails_if_it_lacks_all),
        cmocka_unit_test(fails_if_one_is_taken),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
