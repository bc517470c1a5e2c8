#ifndef LLM_PROXY_JSON_WRITER_H
#define LLM_PROXY_JSON_WRITER_H

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy::json
{

// Appends `text` (valid UTF-8) as a JSON string with its quotes. Each byte
// that belongs to no valid UTF-8 sequence becomes one U+FFFD.
void append_string(std::string &out, std::string_view text);

// Writes one document, member by member. An empty key makes an element of an
// array. What is begun must be ended.
class Writer
{
public:
    // Into `out`, which is empty and outlives the writer.
    explicit Writer(std::string &out) : out_(out) {}

    void begin_object(std::string_view key = {}) { begin(key, '{'); }
    void end_object() { out_ += '}'; }
    void begin_array(std::string_view key) { begin(key, '['); }
    void end_array() { out_ += ']'; }
    void text(std::string_view key, std::string_view value);
    void number(std::string_view key, uint64_t value);
    void boolean(std::string_view key, bool value);
    void null(std::string_view key);

private:
    void begin(std::string_view key, char bracket);
    void begin_value(std::string_view key);

    std::string &out_;
};

} // namespace llmproxy::json

#endif
