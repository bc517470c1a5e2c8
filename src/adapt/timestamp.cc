// Reads the one form of date that Ollama writes.

#include "timestamp.h"

#include "llm_proxy/base/strings.h"

#include <ctime>

namespace llmproxy
{

namespace
{

// Takes two digits off the front, then `then` unless that is NUL.
bool take_pair(std::string_view &text, int &out, char then)
{
    const size_t size = then == '\0' ? 2 : 3;
    if (text.size() < size || !is_digit(text[0]) || !is_digit(text[1]) ||
        (then != '\0' && text[2] != then)) {
        return false;
    }
    out = (text[0] - '0') * 10 + (text[1] - '0');
    text.remove_prefix(size);
    return true;
}

bool take_offset(std::string_view text, int64_t &out)
{
    if (text == "Z") {
        out = 0;
        return true;
    }
    if (text.empty() || (text[0] != '+' && text[0] != '-')) {
        return false;
    }
    const int sign = text[0] == '-' ? -1 : 1;
    text.remove_prefix(1);
    int hours = 0;
    int minutes = 0;
    if (!take_pair(text, hours, ':') || !take_pair(text, minutes, '\0') ||
        !text.empty() || hours > 23 || minutes > 59) {
        return false;
    }
    out = sign * (int64_t{hours} * 60 + minutes) * 60;
    return true;
}

} // namespace

int64_t unix_seconds(std::string_view text, int64_t otherwise)
{
    int century = 0;
    int year = 0;
    struct tm when = {};
    if (!take_pair(text, century, '\0') || !take_pair(text, year, '-') ||
        !take_pair(text, when.tm_mon, '-') ||
        !take_pair(text, when.tm_mday, 'T') ||
        !take_pair(text, when.tm_hour, ':') ||
        !take_pair(text, when.tm_min, ':') ||
        !take_pair(text, when.tm_sec, '\0')) {
        return otherwise;
    }
    if (when.tm_mon < 1 || when.tm_mon > 12 || when.tm_mday < 1 ||
        when.tm_mday > 31 || when.tm_hour > 23 || when.tm_min > 59 ||
        when.tm_sec > 60) {
        return otherwise;
    }
    if (!text.empty() && text[0] == '.') {
        size_t digits = 1;
        while (digits < text.size() && is_digit(text[digits])) {
            digits++;
        }
        text.remove_prefix(digits);
    }
    int64_t offset = 0;
    if (!take_offset(text, offset)) {
        return otherwise;
    }
    when.tm_year = century * 100 + year - 1900;
    when.tm_mon--;
    const int64_t seconds = static_cast<int64_t>(timegm(&when)) - offset;
    return seconds < 0 ? otherwise : seconds;
}

} // namespace llmproxy
