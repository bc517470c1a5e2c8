// Writes JSON strings. Escapes what RFC 8259 requires and nothing more, so
// that text comes out as jansson would print it, and never lets a byte that
// is not UTF-8 through: what we write must parse at the other end.

#include "llm_proxy/json/writer.h"

#include "llm_proxy/base/strings.h"

#include <cstddef>

#include "utf8.h"

namespace llmproxy::json
{

namespace
{

constexpr char kReplacement[] = "\xef\xbf\xbd"; // U+FFFD

void append_control(std::string &out, unsigned char byte)
{
    static const char names[] = "btn?fr"; // 0x08..0x0d
    static const char digits[] = "0123456789abcdef";
    if (byte >= 0x08 && byte <= 0x0d && byte != 0x0b) {
        out += '\\';
        out += names[byte - 0x08];
        return;
    }
    out += "\\u00";
    out += digits[byte >> 4];
    out += digits[byte & 15];
}

bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

} // namespace

void append_string(std::string &out, std::string_view text)
{
    out.reserve(out.size() + text.size() + 2);
    out += '"';
    size_t at = 0;
    while (at < text.size()) {
        size_t end = at;
        while (end < text.size() &&
               is_plain(static_cast<unsigned char>(text[end]))) {
            end++;
        }
        out.append(text, at, end - at);
        at = end;
        if (at == text.size()) {
            break;
        }
        const auto byte = static_cast<unsigned char>(text[at]);
        if (byte == '"' || byte == '\\') {
            out += '\\';
            out += text[at++];
        } else if (byte < 0x20) {
            append_control(out, byte);
            at++;
        } else {
            const size_t length =
                utf8_length(text.data() + at, text.size() - at);
            if (length == 0) {
                out += kReplacement;
                at++;
            } else {
                out.append(text, at, length);
                at += length;
            }
        }
    }
    out += '"';
}

void Writer::begin_value(std::string_view key)
{
    if (!out_.empty() && out_.back() != '{' && out_.back() != '[') {
        out_ += ',';
    }
    if (!key.empty()) {
        append_string(out_, key);
        out_ += ':';
    }
}

void Writer::begin(std::string_view key, char bracket)
{
    begin_value(key);
    out_ += bracket;
}

void Writer::text(std::string_view key, std::string_view value)
{
    begin_value(key);
    append_string(out_, value);
}

void Writer::number(std::string_view key, uint64_t value)
{
    begin_value(key);
    append_u64(out_, value);
}

void Writer::boolean(std::string_view key, bool value)
{
    begin_value(key);
    out_ += value ? "true" : "false";
}

void Writer::null(std::string_view key)
{
    begin_value(key);
    out_ += "null";
}

} // namespace llmproxy::json
