// Makes replies of what hiredis reads, without a word of the heap: the script
// answers each decision with eight numbers.
#include "reply_reader.h"

#include <cstddef>

#include <hiredis/hiredis.h>

namespace llmproxy
{

// The type and, of an error, the text; never any elements.
struct ReplyReader::Seen {
    redisReply reply{};
};

ReplyReader::ReplyReader() : seen_(std::make_unique<Seen>()) {}

ReplyReader::~ReplyReader() = default;

struct ReplyReader::Makers {
    static ReplyReader &of(const redisReadTask *task)
    {
        return *static_cast<ReplyReader *>(task->privdata);
    }
    static void *make_string(const redisReadTask *task, char *text, size_t size)
    {
        ReplyReader &self = of(task);
        if (task->parent != nullptr) {
            return self.other(*task);
        }
        RedisReply::Kind kind = RedisReply::Kind::Other;
        if (task->type == REDIS_REPLY_ERROR) {
            kind = RedisReply::Kind::Error;
        } else if (task->type == REDIS_REPLY_STATUS ||
                   task->type == REDIS_REPLY_STRING) {
            kind = RedisReply::Kind::Text;
        }
        self.text_.assign(text, size);
        self.seen_->reply.str = self.text_.data();
        self.seen_->reply.len = size;
        void *made = self.begin(*task, kind);
        self.reply_.text = self.text_;
        return made;
    }
    static void *make_list(const redisReadTask *task, size_t size)
    {
        ReplyReader &self = of(task);
        if (task->parent != nullptr || size != self.reply_.numbers.size() ||
            task->type != REDIS_REPLY_ARRAY) {
            return self.other(*task);
        }
        return self.begin(*task, RedisReply::Kind::Numbers);
    }
    // hiredis 0.14 counts in int.
    static void *make_list(const redisReadTask *task, int size)
    {
        return make_list(task, static_cast<size_t>(size));
    }
    static void *make_number(const redisReadTask *task, long long number)
    {
        ReplyReader &self = of(task);
        if (task->parent == nullptr ||
            self.reply_.kind != RedisReply::Kind::Numbers) {
            return self.other(*task);
        }
        self.reply_.numbers[static_cast<size_t>(task->idx)] = number;
        return &self.seen_->reply;
    }
    static void *make_nil(const redisReadTask *task)
    {
        return of(task).other(*task);
    }
#if HIREDIS_MAJOR >= 1
    static void *make_double(const redisReadTask *task, double, char *, size_t)
    {
        return of(task).other(*task);
    }
    static void *make_bool(const redisReadTask *task, int)
    {
        return of(task).other(*task);
    }
#endif
    static void free_nothing(void *) {}

    static redisReplyObjectFunctions table()
    {
        redisReplyObjectFunctions makers = {};
        makers.createString = make_string;
        makers.createArray = make_list;
        makers.createInteger = make_number;
        makers.createNil = make_nil;
#if HIREDIS_MAJOR >= 1
        makers.createDouble = make_double;
        makers.createBool = make_bool;
#endif
        makers.freeObject = free_nothing;
        return makers;
    }
};

void ReplyReader::serve(redisReader &reader)
{
    static redisReplyObjectFunctions makers = Makers::table();
    reader.fn = &makers;
    reader.privdata = this;
    expected_ = 0;
    unasked_ = false;
}

void *ReplyReader::begin(const redisReadTask &task, RedisReply::Kind kind)
{
    if (expected_ == 0) {
        unasked_ = true;
        return nullptr;
    }
    expected_--;
    seen_->reply.type = task.type;
    reply_.kind = kind;
    return &seen_->reply;
}

// What the script never says. One such part makes all of a list Other.
void *ReplyReader::other(const redisReadTask &task)
{
    if (task.parent == nullptr) {
        return begin(task, RedisReply::Kind::Other);
    }
    reply_.kind = RedisReply::Kind::Other;
    return &seen_->reply;
}

} // namespace llmproxy
