#ifndef LLM_PROXY_SRC_LIMIT_REPLY_READER_H
#define LLM_PROXY_SRC_LIMIT_REPLY_READER_H

#include <cstdint>
#include <memory>
#include <string>

#include "redis_reply.h"

struct redisReadTask;
struct redisReader;

namespace llmproxy
{

// Where hiredis puts what it reads: into one reply that is used again and
// again, instead of a tree of objects for each. Not movable: hiredis holds its
// address.
class ReplyReader
{
public:
    ReplyReader();
    ~ReplyReader();
    ReplyReader(const ReplyReader &) = delete;
    ReplyReader &operator=(const ReplyReader &) = delete;

    // The reader of a new context, which this object outlives.
    void serve(redisReader &reader);
    // A command is sent. A reply to none is hiredis' error, of which it knows
    // nothing better than to abort().
    void expect() { expected_++; }
    bool unasked() const { return unasked_; }
    // What a callback was called for; until the next.
    const RedisReply &reply() const { return reply_; }

private:
    struct Makers; // what hiredis calls

    // What a maker returns: nullptr is an error.
    void *begin(const redisReadTask &task, RedisReply::Kind kind);
    void *other(const redisReadTask &task);

    struct Seen;
    std::unique_ptr<Seen> seen_; // what hiredis looks at itself
    RedisReply reply_;
    std::string text_; // of reply_
    uint64_t expected_ = 0;
    bool unasked_ = false;
};

} // namespace llmproxy

#endif
