#ifndef LLM_PROXY_HTTP_MESSAGE_H
#define LLM_PROXY_HTTP_MESSAGE_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy
{

// One header field as received; the views point into the head's own text.
struct Field {
    std::string_view name;
    std::string_view value; // without surrounding blanks
};

// The value of the first field of that name (any case), or nullptr.
const std::string_view *find_field(const std::vector<Field> &fields,
                                   std::string_view name);
// True if a comma-separated field value holds the token (any case).
bool list_contains(std::string_view value, std::string_view token);

enum class Method { Get, Head, Post, Put, Delete, Options, Patch, Trace };
const char *method_name(Method method);

// A request's head after the lint. All views point into the text that was
// linted (the HttpParser's buffer) and live until its next message begins.
struct RequestHead {
    Method method = Method::Get;
    int minor_version = 1;
    std::string_view target;   // as sent
    std::string_view path;     // before '?', authority of absolute-form removed
    std::string_view query;    // after '?', may be empty
    std::vector<Field> fields; // names with '_' are left out
    bool chunked = false;
    bool has_length = false;
    uint64_t content_length = 0;
    bool keep_alive = true;       // RFC 9112 9.3
    bool expect_continue = false; // never from HTTP/1.0
};

// A response's head as a backend sent it (final, not 1xx).
struct ReplyHead {
    int status = 0;
    std::vector<Field> fields;

    const std::string_view *find(std::string_view name) const
    {
        return find_field(fields, name);
    }
};

// Appends "Name: value\r\n". The one place where bytes become header lines: a
// name that is no token, or a value with a byte outside HTAB, 0x20..0x7e,
// 0x80..0xff is left out and false returned, so no line can be split by what
// a client or a backend sent.
bool append_field(std::string &out, std::string_view name,
                  std::string_view value);

// Header lines on their way out.
class FieldBlock
{
public:
    bool add(std::string_view name, std::string_view value);
    // A literal is the program's own word, and not looked at again.
    template <size_t Size>
    bool add(const char (&name)[Size], std::string_view value)
    {
        return add_known({name, Size - 1}, value);
    }
    // `name` is a literal.
    void add(std::string_view name, uint64_t value);
    void clear() { text_.clear(); }
    const std::string &text() const { return text_; }

private:
    bool add_known(std::string_view name, std::string_view value);
    void make_room();

    std::string text_;
};

const char *reason_phrase(int status);

} // namespace llmproxy

#endif
