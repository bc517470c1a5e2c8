// What a new connection to Redis is told before it may decide: who asks, which
// database, and the script.
#include "llm_proxy/base/strings.h"

#include <string>

#include "redis_connection.h"
#include "redis_script.h"

namespace llmproxy
{

namespace
{

constexpr size_t kDigestSize = 40;

// The commands of a connection's set-up, by their ids.
constexpr uint64_t kLogin = 1;
constexpr uint64_t kSelect = 2;
constexpr uint64_t kName = 3;
constexpr uint64_t kLoadScript = 4;

} // namespace

void RedisConnection::send_setup()
{
    const RedisUrl &url = target_.url;
    if (!url.password.empty() && url.user.empty()) {
        send(kLogin, {"AUTH", url.password});
    } else if (!url.password.empty()) {
        send(kLogin, {"AUTH", url.user, url.password});
    }
    if (url.db != 0) {
        const std::string db = std::to_string(url.db);
        send(kSelect, {"SELECT", db});
    }
    send(kName, {"CLIENT", "SETNAME", "llm-proxyd"});
    send(kLoadScript, {"SCRIPT", "LOAD", kLimitScript});
}

void RedisConnection::on_setup_reply(uint64_t step, const RedisReply &reply)
{
    const bool failed = reply.kind == RedisReply::Kind::Error;
    if (failed && step != kName) {
        const StoreFault &known = find_fault(reply.text);
        const bool plain =
            known.prefix == nullptr || known.reaction == Reaction::Slow;
        // A server that does not know AUTH repeats the password.
        if (step == kLogin) {
            drop(plain && starts_with(reply.text, "ERR") ? kLoginRefused
                                                         : known,
                 "");
        } else if (step == kSelect && known.prefix == nullptr) {
            drop(kWrongDatabase, reply.text);
        } else if (step == kLoadScript && plain &&
                   !starts_with(reply.text, "NOAUTH")) {
            drop(kScriptRefused, reply.text);
        } else {
            drop(known, reply.text);
        }
        return;
    }
    if (step != kLoadScript) {
        return;
    }
    if (reply.kind != RedisReply::Kind::Text ||
        reply.text.size() != kDigestSize) {
        drop(kBadReply, "");
        return;
    }
    script_digest_ = reply.text;
    state_ = State::Ready;
    timer_.cancel();
    replies_ = true;
    user_.on_store_ready();
}

} // namespace llmproxy
