#ifndef LLM_PROXY_SRC_LIMIT_REDIS_CONNECTION_H
#define LLM_PROXY_SRC_LIMIT_REDIS_CONNECTION_H

#include "llm_proxy/config/redis_url.h"
#include "llm_proxy/config/settings.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/loop/resolver.h"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "redis_command.h"
#include "redis_reply.h"
#include "redis_tls.h"
#include "reply_reader.h"

struct redisAsyncContext;

namespace llmproxy
{

// Where to connect.
struct RedisTarget {
    RedisUrl url;
    std::string ca_file;
    std::shared_ptr<const RedisTrust> trust; // what is in there
};
// Whether it is the same server: what is in a file does not count.
bool operator==(const RedisTarget &a, const RedisTarget &b);

// Whoever asks the store.
class RedisUser
{
public:
    // Commands may be sent from now on.
    virtual void on_store_ready() = 0;
    // One command's reply, in the order of sending. hiredis is at work: send
    // and drop() only.
    virtual void on_store_reply(uint64_t id, const RedisReply &reply) = 0;
    // No more replies come for now: time to tell others of them.
    virtual void on_store_replies_done() = 0;
    // The connection, or the attempt to make one, is over; commands without
    // a reply get none.
    virtual void on_store_lost(const StoreFault &fault,
                               std::string_view text) = 0;

protected:
    ~RedisUser() = default;
};

// One connection to Redis, logged in and with the script loaded, made anew
// for as long as it lives: after 100 ms at first, 5 s at last. The host's name
// is looked up for each, so that it follows a server that moves; what is known
// of it is used again where nothing new can be learned. What is sent in one
// turn of the loop goes out in one write. Knows commands, not limits.
class RedisConnection final : private IoHandler,
                              private TimerHandler,
                              private TurnEndHandler,
                              private ResolverClient
{
public:
    // Ids below are the connection's own.
    static constexpr uint64_t kFirstId = 16;

    // All outlive the connection.
    RedisConnection(EventLoop &loop, Resolver &resolver, RedisUser &user);
    ~RedisConnection();
    RedisConnection(const RedisConnection &) = delete;
    RedisConnection &operator=(const RedisConnection &) = delete;

    // Connects there, leaving where it is now.
    void use(RedisTarget target);
    const RedisTarget &target() const { return target_; }
    // From the next connection on.
    void trust(std::shared_ptr<const RedisTrust> trust)
    {
        target_.trust = std::move(trust);
    }
    // Not any more when a write has failed, of which the user hears later.
    bool ready() const { return state_ == State::Ready && fault_ == nullptr; }
    bool connecting() const { return state_ == State::Connecting; }
    static std::string version();

    // Only when ready(). `body`: the script itself instead of its digest.
    void call(uint64_t id, const ScriptCall &script, bool body);
    void ping(uint64_t id);
    void remove(uint64_t id, std::string_view key);
    // Ends the connection; the next one is made as the fault says.
    void drop(const StoreFault &fault, std::string_view text);
    // Takes what has arrived, although the loop has not said so yet.
    void read_now();
    // Sends what was given in this turn.
    void flush();
    // The store has proved useful: the next connection is made soon.
    void worked() { attempts_ = 0; }

private:
    enum class State { Idle, Connecting, Ready, Waiting };
    struct Hooks; // what hiredis calls

    void on_io(bool readable, bool writable) override;
    void on_timer(Timer &timer) override;
    bool on_turn_end() override;
    void on_addresses(std::vector<std::string> addresses,
                      const Error &err) override;

    void connect();
    void open();
    void begin();
    bool open_context(Error &err);
    void prepare_socket();
    void send_setup();
    // A command of these words, or the one in command_.
    void send(uint64_t id, std::initializer_list<std::string_view> words);
    void send(uint64_t id);
    void on_setup_reply(uint64_t step, const RedisReply &reply);
    void close();
    void wait_and_retry(const StoreFault &fault);
    bool settle();
    void update_watch();

    EventLoop &loop_;
    Resolver &resolver_;
    RedisUser &user_;
    Timer timer_; // to the end of the set-up, or to the next attempt
    State state_ = State::Idle;
    RedisTarget target_;
    std::vector<std::string> addresses_; // numeric, tried in turn
    bool looking_up_ = false;
    redisAsyncContext *context_ = nullptr;
    RedisTls tls_;
    std::unique_ptr<IoWatch> watch_;
    std::string script_digest_;
    ReplyReader reader_;
    RedisCommand command_; // being sent
    unsigned attempts_ = 0;
    bool connected_ = false;
    bool begun_ = false; // TLS, if any, and the set-up
    bool want_read_ = false;
    bool want_write_ = false;
    bool replies_ = false; // the user has been told of some
    unsigned inside_ = 0;  // hiredis is at work
    // What drop() was told, or hiredis has found, while it was at work.
    const StoreFault *fault_ = nullptr;
    std::string fault_text_;
};

} // namespace llmproxy

#endif
