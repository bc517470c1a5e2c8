// Names of hosts, looked up on threads of their own.
#include "name_resolver.h"

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include <arpa/inet.h>

#include "host_names.h"
#include "thread.h"

namespace llmproxy
{

namespace
{

bool is_address(const std::string &host)
{
    uint8_t bytes[16];
    return inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
           inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

} // namespace

// Shared by the loop and the thread, and whoever is last frees it.
struct NameResolver::Question {
    std::string host;
    ResolverClient *client = nullptr; // the loop's thread only
    std::vector<std::string> addresses;
    Error err;
    std::mutex lock;           // guards what follows
    EventLoop *loop = nullptr; // nullptr: nobody wants to know
};

void NameResolver::look_up(const std::string &host, ResolverClient &client)
{
    if (asked_ != nullptr && asked_->host == host) {
        asked_->client = &client;
        return;
    }
    abandon();
    asked_ = std::make_shared<Question>();
    asked_->host = host;
    asked_->client = &client;
    asked_->loop = &loop_;
    const auto tell = [this, asked = asked_] {
        if (asked_ == asked) {
            asked_.reset();
            if (asked->client != nullptr) {
                asked->client->on_addresses(std::move(asked->addresses),
                                            asked->err);
            }
        }
    };
    const auto ask = [asked = asked_, tell] {
        (void)find_addresses(asked->host, asked->addresses, asked->err);
        const std::lock_guard<std::mutex> guard(asked->lock);
        if (asked->loop != nullptr) {
            asked->loop->post(tell);
        }
    };
    if (is_address(host)) {
        asked_->addresses.push_back(host);
        loop_.post(tell);
    } else if (!Thread::launch(ask, asked_->err)) {
        loop_.post(tell);
    }
}

void NameResolver::forget(ResolverClient &client)
{
    if (asked_ != nullptr && asked_->client == &client) {
        asked_->client = nullptr;
    }
}

void NameResolver::abandon()
{
    if (asked_ != nullptr) {
        const std::lock_guard<std::mutex> guard(asked_->lock);
        asked_->loop = nullptr;
    }
    asked_.reset();
}

} // namespace llmproxy
