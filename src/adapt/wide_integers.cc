// Carries integers of any size through jansson, which holds 64 bits.

#include "wide_integers.h"

#include "llm_proxy/base/ids.h"
#include "llm_proxy/base/strings.h"

#include <algorithm>

namespace llmproxy
{

namespace
{

constexpr size_t kMarkDigits = 24;

// The index behind the string whose inside begins at `at`.
size_t end_of_string(std::string_view text, size_t at)
{
    while (at < text.size() && text[at] != '"') {
        at += text[at] == '\\' ? 2 : 1;
    }
    return at + 1;
}

// The first integer at or behind `at`, outside strings, that may not fit into
// 64 bits; empty if there is none.
std::string_view find_wide_integer(std::string_view text, size_t at)
{
    constexpr std::string_view number_bytes = "0123456789+-.eE";
    constexpr size_t wide_digits = 19;
    while (at < text.size()) {
        if (text[at] == '"') {
            at = end_of_string(text, at + 1);
            continue;
        }
        const size_t end =
            std::min(text.find_first_not_of(number_bytes, at), text.size());
        const std::string_view number = text.substr(at, end - at);
        const size_t sign = starts_with(number, "-") ? 1 : 0;
        if (number.size() - sign >= wide_digits && number[sign] != '0' &&
            number.find_first_of("+-.eE", sign) == std::string_view::npos) {
            return number;
        }
        at = std::max(end, at + 1);
    }
    return {};
}

std::string quote_wide_integers(std::string_view text, const std::string &mark)
{
    std::string out;
    size_t at = 0;
    for (;;) {
        const std::string_view wide = find_wide_integer(text, at);
        if (wide.empty()) {
            break;
        }
        const auto begin = static_cast<size_t>(wide.data() - text.data());
        out.append(text.substr(at, begin - at));
        out += '"';
        out += mark;
        out.append(wide);
        out += '"';
        at = begin + wide.size();
    }
    out.append(text.substr(at));
    return out;
}

} // namespace

bool parse_wide(std::string_view text, std::string &mark, json::Ptr &out,
                Error &err)
{
    if (json::parse_lenient(text, out, err)) {
        return true;
    }
    if (find_wide_integer(text, 0).empty()) {
        return false;
    }
    if (mark.empty()) {
        append_random_hex(mark, kMarkDigits);
    }
    return json::parse_lenient(quote_wide_integers(text, mark), out, err);
}

std::string without_marks(std::string text, const std::string &mark)
{
    if (mark.empty()) {
        return text;
    }
    const std::string quoted = '"' + mark;
    std::string out;
    size_t at = 0;
    size_t found = 0;
    while ((found = text.find(quoted, at)) != std::string::npos) {
        out.append(text, at, found - at);
        const size_t begin = found + quoted.size();
        const size_t end = text.find('"', begin);
        out.append(text, begin, end - begin);
        at = end + 1;
    }
    out.append(text, at);
    return out;
}

} // namespace llmproxy
