// Header fields on their way in and out, and the names of methods and
// statuses.
#include "llm_proxy/http/message.h"

#include "llm_proxy/base/strings.h"

#include "chars.h"

namespace llmproxy
{

namespace
{

// In one step, and not in four that look each for room.
void append_line(std::string &out, std::string_view name,
                 std::string_view value)
{
    const size_t before = out.size();
    out.resize(before + name.size() + value.size() + 4);
    char *at = &out[before];
    at += name.copy(at, name.size());
    *at++ = ':';
    *at++ = ' ';
    at += value.copy(at, value.size());
    *at++ = '\r';
    *at = '\n';
}

} // namespace

const std::string_view *find_field(const std::vector<Field> &fields,
                                   std::string_view name)
{
    for (const Field &field : fields) {
        if (iequals(field.name, name)) {
            return &field.value;
        }
    }
    return nullptr;
}

bool list_contains(std::string_view value, std::string_view token)
{
    while (!value.empty()) {
        const size_t comma = value.find(',');
        if (iequals(trim(value.substr(0, comma)), token)) {
            return true;
        }
        if (comma == std::string_view::npos) {
            return false;
        }
        value.remove_prefix(comma + 1);
    }
    return false;
}

const char *method_name(Method method)
{
    switch (method) {
    case Method::Get:
        return "GET";
    case Method::Head:
        return "HEAD";
    case Method::Post:
        return "POST";
    case Method::Put:
        return "PUT";
    case Method::Delete:
        return "DELETE";
    case Method::Options:
        return "OPTIONS";
    case Method::Patch:
        return "PATCH";
    case Method::Trace:
        return "TRACE";
    }
    return "";
}

bool append_field(std::string &out, std::string_view name,
                  std::string_view value)
{
    if (!is_token(name) || !is_field_value(value)) {
        return false;
    }
    append_line(out, name, value);
    return true;
}

bool FieldBlock::add(std::string_view name, std::string_view value)
{
    make_room();
    return append_field(text_, name, value);
}

void FieldBlock::add(std::string_view name, uint64_t value)
{
    make_room();
    char digits[kMaxDigits];
    append_line(text_, name, write_u64(digits, value));
}

bool FieldBlock::add_known(std::string_view name, std::string_view value)
{
    make_room();
    if (!is_field_value(value)) {
        return false;
    }
    append_line(text_, name, value);
    return true;
}

// Most blocks hold this much in the end: one allocation instead of five.
void FieldBlock::make_room()
{
    constexpr size_t usual = 384;
    if (text_.empty()) {
        text_.reserve(usual);
    }
}

const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } reasons[] = {
        {100, "Continue"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {424, "Failed Dependency"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {529, "Overloaded"},
    };
    for (const auto &reason : reasons) {
        if (reason.status == status) {
            return reason.phrase;
        }
    }
    return "Unknown";
}

} // namespace llmproxy
