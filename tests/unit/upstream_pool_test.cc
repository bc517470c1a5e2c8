// upstream_pool: what happens where libcurl refuses an option or loses its
// way. It is real but for two functions, which can be told to fail.

#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/upstream/backend_gate.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <cstdarg>
#include <memory>
#include <string>
#include <vector>

#include <dlfcn.h>

#include <curl/curl.h>

#include "cmocka.hpp"

using namespace llmproxy;

static CURLoption refused = CURLOPT_LASTENTRY;
static int lost = 0; // calls of curl_multi_socket_action that fail

// The last parameter is libcurl's: an enum, of int's size in every ABI that
// it is built for.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wvarargs"
extern "C" CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
    using Real = CURLcode (*)(CURL *, CURLoption, ...);
    static const Real real =
        reinterpret_cast<Real>(dlsym(RTLD_NEXT, "curl_easy_setopt"));
    va_list args;
    va_start(args, option);
    void *value = va_arg(args, void *); // of one size, whatever it is
    va_end(args);
    return option == refused ? CURLE_UNKNOWN_OPTION : real(easy, option, value);
}
#pragma GCC diagnostic pop

extern "C" CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t fd,
                                              int mask, int *running)
{
    using Real = CURLMcode (*)(CURLM *, curl_socket_t, int, int *);
    static const Real real =
        reinterpret_cast<Real>(dlsym(RTLD_NEXT, "curl_multi_socket_action"));
    if (lost > 0) {
        lost--;
        return CURLM_INTERNAL_ERROR;
    }
    return real(multi, fd, mask, running);
}

namespace
{

using Faults = std::vector<TransferFault>;

struct World {
    World() : pool(loop, gates)
    {
        backend.name = "vllm";
        backend.kind = BackendKind::Vllm;
        backend.url.text = "http://127.0.0.1:1"; // nobody listens there
        for (BackendGate &gate : gates) {
            gate.set_limits(2, 0);
        }
    }

    EventLoop loop;
    BackendGate gates[kBackends];
    UpstreamPool pool;
    BackendConfig backend;
    int open = 0;
};

// Asks once and, when that has ended, once more with nothing refused.
class Asker final : private TransferSink
{
public:
    explicit Asker(World &world) : world_(world)
    {
        world_.open++;
        world_.loop.post([this] { ask(); });
    }
    virtual ~Asker() = default;

    Faults faults;

private:
    void ask()
    {
        UpstreamRequest request;
        request.path = "/v1/x";
        request.headers.emplace_back("Accept: */*");
        request.body.emplace_back("{}");
        TransferOptions options;
        options.connect_timeout_ms = 5000;
        options.first_byte_timeout_ms = 5000;
        options.idle_timeout_ms = 5000;
        options.queue_timeout_ms = 5000;
        transfer_ = world_.pool.submit(world_.backend, std::move(request),
                                       options, *this);
    }

    Take on_upstream_head(const ReplyHead &) override { return Take::Taken; }
    Take on_upstream_data(std::string_view) override { return Take::Taken; }
    void on_upstream_turn() override {}
    void on_upstream_end(const TransferEnd &end) override
    {
        faults.push_back(end.fault);
        transfer_.reset();
        if (faults.size() == 1) {
            refused = CURLOPT_LASTENTRY;
            ask();
        } else if (--world_.open == 0) {
            world_.loop.stop();
        }
    }

    World &world_;
    std::unique_ptr<UpstreamTransfer> transfer_;
};

const Faults kOnlyTheFirst = {TransferFault::Internal, TransferFault::Connect};

} // namespace

static void nothing_goes_out_without_an_option(void **)
{
    for (const CURLoption option :
         {CURLOPT_PROTOCOLS_STR, CURLOPT_PROXY, CURLOPT_SSLVERSION,
          CURLOPT_HTTP_VERSION, CURLOPT_CLOSESOCKETFUNCTION,
          CURLOPT_WRITEFUNCTION, CURLOPT_CURLU, CURLOPT_HTTPHEADER,
          CURLOPT_POSTFIELDS, CURLOPT_POSTFIELDSIZE_LARGE,
          CURLOPT_CONNECTTIMEOUT_MS}) {
        World world;
        refused = option;
        const Asker asker(world);
        world.loop.run();
        assert_true(asker.faults == kOnlyTheFirst);
    }
}

static void nothing_is_trusted_without_its_ca_file(void **)
{
    World world;
    world.backend.url.text = "https://127.0.0.1:1";
    world.backend.url.tls = true;
    world.backend.ca_file = "/nonexistent";
    refused = CURLOPT_CAINFO;
    const Asker asker(world);
    world.loop.run();
    assert_int_equal(asker.faults[0], TransferFault::Internal);
    assert_int_not_equal(asker.faults[1], TransferFault::Internal);
}

static void begins_anew_where_libcurl_is_lost(void **)
{
    World world;
    lost = 1;
    const Asker first(world);
    const Asker second(world);
    world.loop.run();
    assert_int_equal(lost, 0);
    assert_true(first.faults == kOnlyTheFirst);
    assert_true(second.faults == kOnlyTheFirst);
}

int main()
{
    if (!UpstreamPool::global_init()) {
        return 1;
    }
    const CMUnitTest tests[] = {
        cmocka_unit_test(nothing_goes_out_without_an_option),
        cmocka_unit_test(nothing_is_trusted_without_its_ca_file),
        cmocka_unit_test(begins_anew_where_libcurl_is_lost),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
