#ifndef LLM_PROXY_PROXY_CONNECTION_H
#define LLM_PROXY_PROXY_CONNECTION_H

#include "llm_proxy/http/http_parser.h"
#include "llm_proxy/loop/client_stream.h"
#include "llm_proxy/loop/event_loop.h"
#include "llm_proxy/proxy/access_log.h"
#include "llm_proxy/proxy/exchange.h"
#include "llm_proxy/proxy/response_sink.h"
#include "llm_proxy/proxy/worker_context.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace llmproxy
{

class Connection;

class ConnectionOwner
{
public:
    // The connection is finished; its owner buries it.
    virtual void on_connection_closed(Connection &connection) = 0;

protected:
    ~ConnectionOwner() = default;
};

// One client: reads requests one after the other, has at most one exchange
// under way (pipelined requests wait in order), frames the answers and keeps
// the deadlines. Owned by the worker, by id; ends by burying itself through
// its owner.
class Connection final : public Buried,
                         private ClientStreamHandler,
                         private TimerHandler,
                         private ResponseSink
{
public:
    Connection(WorkerContext &context, ConnectionOwner &owner, uint64_t id,
               Fd fd, std::string peer);
    ~Connection() override;
    Connection(const Connection &) = delete;
    Connection &operator=(const Connection &) = delete;

    uint64_t id() const { return id_; }
    bool has_exchange() const { return exchange_ != nullptr; }
    // Of the exchange that it has.
    uint64_t exchange_number() const { return exchange_->number(); }
    ExchangeView view() const;
    // Answers 503 to whatever comes and closes: there are too many clients.
    void turn_away();
    // The listeners are closed: an idle connection closes now, another after
    // its answer.
    void drain();
    // Ends a running exchange with an error and closes.
    void shut_down();

private:
    enum class State {
        Head,    // waiting for a request's head, or idle
        Body,    // the exchange takes the body
        Answer,  // the request is complete, the exchange is at work
        Discard, // answered early: the rest of the body is dropped
        Linger,  // last answer is out: the peer is let read it, then closed
        Closed,
    };

    size_t on_client_data(std::string_view bytes) override;
    void on_client_gone() override;
    void on_client_drained() override;
    void on_timer(Timer &timer) override;

    void send_continue() override;
    void send_whole(AnswerHead head, std::string_view body,
                    bool close) override;
    void begin(const AnswerHead &head) override;
    void write(std::string_view bytes, bool last) override;
    void abort() override;
    bool congested() const override;
    uint64_t bytes_sent() const override { return stream_.bytes_taken(); }
    std::string_view peer() const override { return peer_; }
    void over() override;

    void set_state(State state);
    bool take_event(HttpEvent event);
    void begin_exchange();
    void take_head();
    void take_fault();
    void render_head(const AnswerHead &head, bool chunked);
    bool can_keep_alive() const;
    void request_done();
    void linger();
    void close();
    void timed_out();
    void overrun();
    void arm_answer_timer();
    void arm_nearest();
    void idle();
    int64_t stall_wait_ms() const;
    void watch_body_rate();

    WorkerContext &context_;
    ConnectionOwner &owner_;
    uint64_t id_;
    std::string peer_;
    ClientStream stream_;
    HttpParser parser_;
    Timer timer_;
    std::unique_ptr<Exchange> exchange_;
    const RequestHead *request_ = nullptr; // the exchange's; in parser_
    // What goes out before the next bytes of an answer: its head, which waits
    // for the first of them, and a chunk's size.
    std::string head_out_;
    State state_ = State::Head;
    int64_t tick_at_ms_ = -1;   // when the exchange wants its next tick()
    int64_t body_since_ms_ = 0; // the window its rate is taken over
    uint64_t body_bytes_ = 0;   // in it
    uint64_t length_left_ = 0;  // of an answer with Content-Length
    size_t dropped_ = 0;        // bytes read and thrown away
    bool complete_ = false;     // the request was read to its end
    bool keep_ = false;         // the connection outlives this answer
    bool chunked_ = false;
    bool counted_length_ = false;
    bool turned_away_ = false;
    bool known_ = false;   // has shown a valid token
    bool overrun_ = false; // has sent too much ahead of its turn
};

} // namespace llmproxy

#endif
