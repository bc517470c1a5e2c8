// The connection to Redis: the only file that speaks hiredis. The context's
// hooks only note what hiredis wants; the loop's watch is set afterwards. The
// context is never freed while hiredis is at work in it: what must end is
// noted and ended by settle().
#include "redis_connection.h"

#include "llm_proxy/base/ids.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/limit/receipt.h"

#include <algorithm>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <hiredis/async.h>

#include "redis_script.h"

namespace llmproxy
{

namespace
{

constexpr int64_t kSetupMs = 1000;
constexpr int64_t kFirstRetryMs = 100;
constexpr int64_t kLastRetryMs = 5000;

// hiredis hands back a pointer, and an id must not outlive what it names.
void *as_pointer(uint64_t id)
{
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return reinterpret_cast<void *>(static_cast<uintptr_t>(id));
}

uint64_t as_id(void *pointer)
{
    return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer));
}

// From half of the full delay to all of it, so that daemons do not come back
// all at once.
int64_t with_jitter(int64_t delay_ms)
{
    std::string digits;
    append_random_hex(digits, 2);
    const int64_t part = hex_value(digits[0]) * 16 + hex_value(digits[1]);
    return delay_ms / 2 + delay_ms * part / 510;
}

} // namespace

bool operator==(const RedisTarget &a, const RedisTarget &b)
{
    return a.url == b.url && a.ca_file == b.ca_file;
}

// What the context's hooks and callbacks point to.
struct RedisConnection::Hooks {
    static RedisConnection &of(const redisAsyncContext *context)
    {
        return *static_cast<RedisConnection *>(context->data);
    }
    static RedisConnection &of(void *data)
    {
        return *static_cast<RedisConnection *>(data);
    }
    static void add_read(void *data) { of(data).want_read_ = true; }
    static void del_read(void *data) { of(data).want_read_ = false; }
    static void add_write(void *data) { of(data).want_write_ = true; }
    static void del_write(void *data) { of(data).want_write_ = false; }
    // The descriptor is closed next.
    static void cleanup(void *data) { of(data).watch_.reset(); }

    static void connected(const redisAsyncContext *context, int status)
    {
        RedisConnection &self = of(context);
        if (status == REDIS_OK) {
            self.connected_ = true;
        } else {
            ended(context, kUnreachable);
        }
    }
    static void disconnected(const redisAsyncContext *context, int /*status*/)
    {
        ended(context, kConnectionLost);
    }
    // hiredis frees the context itself, afterwards.
    static void ended(const redisAsyncContext *context, const StoreFault &fault)
    {
        RedisConnection &self = of(context);
        self.context_ = nullptr;
        if (self.fault_ == nullptr) {
            self.fault_ = self.reader_.unasked() ? &kBadReply : &fault;
            self.fault_text_ =
                context->errstr == nullptr ? "" : context->errstr;
            const StoreFault *const known =
                self.tls_.find_fault(self.fault_text_);
            if (known != nullptr) {
                self.fault_ = known;
            }
        }
        self.tls_.end();
    }
    static void replied(redisAsyncContext *context, void *reply, void *data)
    {
        RedisConnection &self = of(context);
        // Without a reply the connection ends, which its user hears once.
        if (reply == nullptr || self.fault_ != nullptr) {
            return;
        }
        const uint64_t id = as_id(data);
        if (id < kFirstId) {
            self.on_setup_reply(id, self.reader_.reply());
        } else {
            self.replies_ = true;
            self.user_.on_store_reply(id, self.reader_.reply());
        }
    }
};

std::string RedisConnection::version()
{
    const std::string built = std::to_string(HIREDIS_MAJOR) + "." +
                              std::to_string(HIREDIS_MINOR) + "." +
                              std::to_string(HIREDIS_PATCH);
    const std::string text = library_version("hiredis", "", built);
    return speaks_redis_tls() ? text + " (TLS)" : text;
}

RedisConnection::RedisConnection(EventLoop &loop, Resolver &resolver,
                                 RedisUser &user)
    : loop_(loop), resolver_(resolver), user_(user), timer_(loop, *this)
{
    TurnEndHandler &handler = *this;
    loop_.add_turn_end(handler);
}

RedisConnection::~RedisConnection()
{
    TurnEndHandler &handler = *this;
    loop_.remove_turn_end(handler);
    resolver_.forget(*this);
    close();
}

void RedisConnection::use(RedisTarget target)
{
    close();
    fault_ = nullptr;
    resolver_.forget(*this);
    addresses_.clear();
    target_ = std::move(target);
    attempts_ = 0;
    connect();
}

void RedisConnection::connect()
{
    state_ = State::Connecting;
    looking_up_ = target_.url.unix_path.empty();
    if (looking_up_) {
        timer_.arm(kSetupMs);
        resolver_.look_up(target_.url.host, *this);
    } else {
        open();
    }
}

void RedisConnection::on_addresses(std::vector<std::string> addresses,
                                   const Error &err)
{
    if (!addresses.empty()) {
        addresses_ = std::move(addresses);
    }
    if (!looking_up_) {
        return; // it came too late
    }
    looking_up_ = false;
    if (addresses_.empty()) {
        drop(kUnreachable, err.message);
    } else {
        open();
    }
}

void RedisConnection::open()
{
    timer_.arm(kSetupMs);
    Error err;
    if (!open_context(err)) {
        drop(kUnreachable, err.message);
        return;
    }
    update_watch();
}

// The server is there. hiredis is not at work: a session that fails at once
// can be given up.
void RedisConnection::begin()
{
    begun_ = true;
    const RedisUrl &url = target_.url;
    Error err;
    const StoreFault *const fault =
        url.tls ? tls_.begin(context_->c, target_.trust.get(), url.host, err)
                : nullptr;
    if (fault != nullptr) {
        drop(*fault, err.message);
        return;
    }
    send_setup();
}

bool RedisConnection::open_context(Error &err)
{
    const RedisUrl &url = target_.url;
    if (!url.unix_path.empty()) {
        context_ = redisAsyncConnectUnix(url.unix_path.c_str());
    } else {
        const std::string &address = addresses_[attempts_ % addresses_.size()];
        context_ = redisAsyncConnect(address.c_str(), url.port);
    }
    if (context_ == nullptr || context_->err != 0) {
        err.message = context_ == nullptr ? "out of memory" : context_->errstr;
        return false;
    }
    context_->data = this;
    context_->ev.data = this;
    context_->ev.addRead = Hooks::add_read;
    context_->ev.delRead = Hooks::del_read;
    context_->ev.addWrite = Hooks::add_write;
    context_->ev.delWrite = Hooks::del_write;
    context_->ev.cleanup = Hooks::cleanup;
    reader_.serve(*context_->c.reader);
    prepare_socket();
    IoHandler &handler = *this;
    watch_ = std::make_unique<IoWatch>(loop_, context_->c.fd, handler);
    redisAsyncSetConnectCallback(context_, Hooks::connected);
    redisAsyncSetDisconnectCallback(context_, Hooks::disconnected);
    return true;
}

void RedisConnection::prepare_socket()
{
    const int on = 1;
    const int fd = context_->c.fd;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (target_.url.unix_path.empty()) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
}

void RedisConnection::call(uint64_t id, const ScriptCall &script, bool body)
{
    const bool refund = script.op == ScriptOp::Refund;
    const bool receipt = !script.receipt_key.empty();
    command_.begin(8 + (receipt ? 2 : 0) + (refund ? 2 : 0));
    command_.add(body ? "EVAL" : "EVALSHA");
    command_.add(body ? std::string_view(kLimitScript) : script_digest_);
    command_.add(receipt ? "2" : "1");
    command_.add(script.key);
    if (receipt) {
        command_.add(script.receipt_key);
    }
    command_.add(script_op_name(script.op));
    command_.add_number(script_limit(script.rpm));
    command_.add_number(script_limit(script.rpd));
    command_.add_number(script.units);
    if (refund) {
        const LimitStamp &stamp = script.stamp;
        command_.add_number(static_cast<uint64_t>(stamp.minute_start_ms));
        command_.add_number(static_cast<uint64_t>(stamp.day));
    }
    if (receipt) {
        command_.add_number(kReceiptMemoryMs);
    }
    send(id);
}

void RedisConnection::ping(uint64_t id)
{
    send(id, {"PING"});
}

void RedisConnection::remove(uint64_t id, std::string_view key)
{
    send(id, {"DEL", key});
}

void RedisConnection::send(uint64_t id,
                           std::initializer_list<std::string_view> words)
{
    command_.begin(words.size());
    for (const std::string_view word : words) {
        command_.add(word);
    }
    send(id);
}

void RedisConnection::send(uint64_t id)
{
    const std::string &bytes = command_.bytes();
    // Fails only while the context ends, and then no reply is expected.
    if (redisAsyncFormattedCommand(context_, Hooks::replied, as_pointer(id),
                                   bytes.data(), bytes.size()) == REDIS_OK) {
        reader_.expect();
    }
}

void RedisConnection::on_io(bool readable, bool writable)
{
    inside_++;
    tls_.prepare();
    if (readable && context_ != nullptr) {
        redisAsyncHandleRead(context_);
    }
    if (writable && context_ != nullptr) {
        redisAsyncHandleWrite(context_);
    }
    inside_--;
    if (connected_ && !begun_ && context_ != nullptr) {
        begin();
    }
    settle();
}

void RedisConnection::read_now()
{
    if (context_ != nullptr && connected_) {
        on_io(true, false);
    }
}

void RedisConnection::flush()
{
    // Before the connection stands a write would only ask for its error.
    if (inside_ == 0 && context_ != nullptr && connected_ && want_write_ &&
        !watch_->wants_write()) {
        inside_++;
        tls_.prepare();
        redisAsyncHandleWrite(context_);
        inside_--;
    }
}

bool RedisConnection::on_turn_end()
{
    flush();
    const bool told = settle();
    update_watch();
    return told;
}

// After hiredis was at work: ends what must end and tells the user. True if
// the user was told.
bool RedisConnection::settle()
{
    if (inside_ > 0) {
        return false;
    }
    const bool lost = fault_ != nullptr;
    if (lost) {
        const StoreFault &fault = *std::exchange(fault_, nullptr);
        const std::string text = std::move(fault_text_);
        close();
        wait_and_retry(fault);
        user_.on_store_lost(fault, text);
    }
    const bool replies = std::exchange(replies_, false);
    if (replies) {
        user_.on_store_replies_done();
    }
    return lost || replies;
}

void RedisConnection::update_watch()
{
    if (watch_ != nullptr) {
        watch_->want(want_read_, want_write_);
    }
}

void RedisConnection::drop(const StoreFault &fault, std::string_view text)
{
    if (fault_ == nullptr) {
        fault_ = &fault;
        fault_text_ = text;
    }
    settle();
}

void RedisConnection::close()
{
    state_ = State::Idle;
    looking_up_ = false;
    timer_.cancel();
    connected_ = false;
    begun_ = false;
    if (context_ != nullptr) {
        redisAsyncContext *context = std::exchange(context_, nullptr);
        // Its callbacks run now and must find nothing to do.
        const StoreFault *before = std::exchange(fault_, &kConnectionLost);
        inside_++;
        redisAsyncFree(context);
        inside_--;
        fault_ = before;
    }
    tls_.end();
    watch_.reset();
    want_read_ = false;
    want_write_ = false;
}

void RedisConnection::wait_and_retry(const StoreFault &fault)
{
    const int64_t delay =
        fault.reaction == Reaction::Slow
            ? 2 * kLastRetryMs // the half of it, at least, passes
            : std::min(kLastRetryMs, kFirstRetryMs << std::min(attempts_, 6U));
    attempts_++;
    state_ = State::Waiting;
    timer_.arm(with_jitter(delay));
}

void RedisConnection::on_timer(Timer &)
{
    if (state_ == State::Waiting) {
        connect();
    } else if (looking_up_ && addresses_.empty()) {
        drop(kUnreachable, target_.url.host + " is not found within a second");
    } else if (looking_up_) {
        looking_up_ = false;
        open();
    } else {
        drop(kUnreachable,
             tls_.waiting() ? "no answer in TLS within a second; the port may "
                              "be one without TLS"
                            : "no answer within a second");
    }
}

} // namespace llmproxy
