#ifndef LLM_PROXY_SRC_ADAPT_ANSWER_WRITER_H
#define LLM_PROXY_SRC_ADAPT_ANSWER_WRITER_H

#include "llm_proxy/adapt/adapter.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "ollama_line.h"
#include "ollama_translation.h"

namespace llmproxy
{

// Writes one answer in OpenAI's words: the events of a stream, or the one
// object. Appends only.
class AnswerWriter
{
public:
    virtual ~AnswerWriter() = default;

    // Before anything else, once.
    virtual void begin(const ClientRequest &request, const Wishes &wishes) = 0;
    // Before each prompt's answer; may take what it needs out of `wishes`.
    virtual void begin_choice(Wishes &wishes) = 0;
    // With the first line: all of the answer carries the time of that.
    virtual void set_created(int64_t created_s) = 0;
    // Bytes that will come out before anything of the first line.
    virtual size_t lead() const = 0;

    // The events of a line that is not the last; often none.
    virtual void chunks(const OllamaLine &line, std::string &out) = 0;
    // The same for a common line; `text` is still escaped.
    virtual void common_chunk(std::string_view text, std::string &out) = 0;
    // What the last line of a prompt's answer says, and behind the last
    // prompt the end of the stream.
    virtual void end(const OllamaLine &line, bool last, std::string &out) = 0;

    // The whole answer of one prompt of a request that does not stream.
    virtual void whole(const OllamaLine &line, bool last, std::string &out) = 0;

    virtual uint64_t events() const = 0;
};

// The line's text as the inside of a JSON string.
void append_text(const OllamaLine &line, std::string &out);

// What the objects of one answer have in common, whatever they are called.
class AnswerFrame
{
public:
    // `object` is what an event or the whole answer is called, a literal.
    void begin(const ClientRequest &request, const Wishes &wishes,
               const char *id_prefix, const char *object);
    void set_created(int64_t created_s);
    // Every object up to the inside of its choices.
    const std::string &head() const { return head_; }
    bool streams() const { return stream_; }
    void end_event(std::string &out);
    // An event was written in other ways.
    void count_event() { events_++; }
    // Usage if it was asked for, and [DONE].
    void end_stream(const OllamaLine &line, std::string &out);
    // Of a whole answer, behind its choice.
    static void end_whole(const OllamaLine &line, std::string &out);
    uint64_t events() const { return events_; }

private:
    std::string model_; // as a JSON string
    std::string id_;
    const char *object_ = "";
    bool stream_ = false;
    bool include_usage_ = false;
    std::string head_;
    uint64_t events_ = 0;
};

} // namespace llmproxy

#endif
