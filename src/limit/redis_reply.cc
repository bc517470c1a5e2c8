// Redis' replies as verdicts and faults. Believes nothing: numbers that the
// script cannot have returned are no verdict.
#include "redis_reply.h"

#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <iterator>

namespace llmproxy
{

namespace
{

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kDayMs = 1440 * kMinuteMs;
constexpr std::array<int64_t, 8> kNewReceipt = {2, 0, 0, 0, 0, 0, 0, 0};

const StoreFault kFaults[] = {
    {"NOSCRIPT", "noscript", Reaction::SendBody, nullptr},
    {"WRONGTYPE", "wrongtype", Reaction::ThisKey, nullptr},
    {"READONLY", "readonly", Reaction::Reconnect, nullptr},
    {"NOAUTH", "noauth", Reaction::Slow,
     "the server asks for a password; put it into REDIS_URL"},
    {"WRONGPASS", "wrongpass", Reaction::Slow,
     "the server refuses the user or the password of REDIS_URL"},
    {"NOPERM", "noperm", Reaction::Slow, nullptr},
    {"ERR max number of clients", "maxclients", Reaction::Reconnect, nullptr},
    {"ERR unknown command", "no_script", Reaction::Slow,
     "the server does not know EVALSHA and EVAL, which limits need"},
    {"OOM", "oom", Reaction::Decide, nullptr},
    {"BUSY", "busy", Reaction::Decide, nullptr},
    {"LOADING", "loading", Reaction::Decide, nullptr},
    {"MASTERDOWN", "masterdown", Reaction::Decide, nullptr},
    {"NOREPLICAS", "noreplicas", Reaction::Decide, nullptr},
    {"CLUSTERDOWN", "clusterdown", Reaction::Decide, nullptr},
    {"TRYAGAIN", "tryagain", Reaction::Decide, nullptr},
    {"MOVED", "cluster", Reaction::Decide,
     "the server is one of a cluster, which is not supported"},
    {"ASK", "cluster", Reaction::Decide,
     "the server is one of a cluster, which is not supported"},
};
const StoreFault kOtherError = {nullptr, "error", Reaction::Decide, nullptr};

// Before version 7 a script's error stood at the end of another.
std::string_view innermost(std::string_view text)
{
    const size_t at = text.rfind(": ");
    if (!starts_with(text, "ERR Error running script") ||
        at == std::string_view::npos) {
        return text;
    }
    text.remove_prefix(at + 2);
    return starts_with(text, "-") ? text.substr(1) : text;
}

bool within(int64_t value, int64_t low, int64_t high)
{
    return value >= low && value <= high;
}

// What is left of a limit: -1 says unlimited.
bool is_rest(int64_t value, uint64_t limit)
{
    return limit == 0
               ? value == -1
               : within(value, 0, static_cast<int64_t>(script_limit(limit)));
}

} // namespace

const StoreFault kUnreachable = {nullptr, "unreachable", Reaction::Reconnect,
                                 nullptr};
const StoreFault kConnectionLost = {nullptr, "lost", Reaction::Reconnect,
                                    nullptr};
const StoreFault kTlsFailed = {nullptr, "tls", Reaction::Slow, nullptr};
const StoreFault kTimedOut = {nullptr, "timeout", Reaction::Decide,
                              "no answer within REDIS_TIMEOUT"};
const StoreFault kBadReply = {nullptr, "bad_reply", Reaction::Reconnect,
                              "the answer is none of the script's"};
const StoreFault kOverload = {nullptr, "overload", Reaction::Decide,
                              "too many requests wait for an answer"};
const StoreFault kLoginRefused = {nullptr, "login", Reaction::Slow,
                                  "the server refuses the login of REDIS_URL"};
const StoreFault kWrongDatabase = {nullptr, "wrong_db", Reaction::Slow,
                                   nullptr};
const StoreFault kScriptRefused = {nullptr, "no_script", Reaction::Slow,
                                   nullptr};

std::string redis_key(const Sha256 &digest)
{
    return "llmp:{" + hex(digest, 32) + "}";
}

std::string redis_receipt_key(const Sha256 &digest, std::string_view request_id)
{
    std::string key = redis_key(digest);
    key += ':';
    key += request_id;
    return key;
}

const char *script_op_name(ScriptOp op)
{
    static const char *const names[] = {"take", "refund", "peek"};
    return names[static_cast<size_t>(op)];
}

uint64_t script_limit(uint64_t limit)
{
    return std::min<uint64_t>(limit, 1'000'000'000'000'000);
}

bool read_verdict(const RedisReply &reply, const Account &account,
                  LimitVerdict &out)
{
    if (reply.kind != RedisReply::Kind::Numbers) {
        return false;
    }
    const auto [ok, why, left_minute, reset_minute, left_day, reset_day, start,
                day] = reply.numbers;
    // A clock that stepped back keeps its day for one more.
    const bool sane =
        (ok == 1 ? why == 0 : ok == 0 && within(why, 1, 2)) &&
        is_rest(left_minute, account.rpm) && is_rest(left_day, account.rpd) &&
        within(reset_minute, 0, kMinuteMs) &&
        within(reset_day, 0, 2 * kDayMs) && start >= 0 && day >= 0;
    if (!sane) {
        return false;
    }
    LimitVerdict verdict;
    if (ok == 0) {
        verdict.outcome = why == 2 ? LimitVerdict::Outcome::DeniedDay
                                   : LimitVerdict::Outcome::DeniedMinute;
    }
    verdict.rpm = account.rpm;
    verdict.rpd = account.rpd;
    verdict.remaining_minute =
        account.rpm == 0 ? 0 : static_cast<uint64_t>(left_minute);
    verdict.remaining_day =
        account.rpd == 0 ? 0 : static_cast<uint64_t>(left_day);
    // Without a window there is nothing to wait for.
    verdict.reset_minute_ms = start == 0 ? 0 : reset_minute;
    verdict.reset_day_ms = reset_day;
    verdict.stamp.minute_start_ms = start;
    verdict.stamp.day = day;
    out = verdict;
    return true;
}

bool is_new_receipt(const RedisReply &reply)
{
    return reply.kind == RedisReply::Kind::Numbers &&
           reply.numbers == kNewReceipt;
}

const StoreFault &find_fault(std::string_view text)
{
    const std::string_view error = innermost(text);
    const auto *const found = std::find_if(
        std::begin(kFaults), std::end(kFaults), [&](const StoreFault &fault) {
            return starts_with(error, fault.prefix);
        });
    return found == std::end(kFaults) ? kOtherError : *found;
}

std::string describe(const StoreFault &fault, std::string_view text)
{
    std::string line = fault.kind;
    line += ": ";
    if (fault.advice != nullptr) {
        line += fault.advice;
    } else {
        line += text.substr(0, 200);
    }
    return line;
}

} // namespace llmproxy
