// Reads the numbers that an embedding is made of. Nearly all of them are short
// decimal fractions that can go on as they are.

#include "float_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <system_error>

#include <string.h>

namespace llmproxy
{

namespace
{

constexpr size_t kDigits = 9;
// Half way from the largest float to the next power of two: this rounds to
// infinity, and what is below to the largest float.
constexpr double kTooLarge = 0x1.ffffffp127;

struct NumberText {
    size_t digits = 0; // from the first that is not 0 on, behind it all
    bool has_exponent = false;
};

// Takes the digits at the front of `text` off.
size_t take_digits(std::string_view &text)
{
    size_t count = 0;
    while (count < text.size() && text[count] >= '0' && text[count] <= '9') {
        count++;
    }
    text.remove_prefix(count);
    return count;
}

size_t zeros_at_front(std::string_view text)
{
    size_t count = 0;
    while (count < text.size() && text[count] == '0') {
        count++;
    }
    return count;
}

// Takes `c` off the front of `text` if it is there.
bool take(std::string_view &text, char c)
{
    if (text.empty() || text[0] != c) {
        return false;
    }
    text.remove_prefix(1);
    return true;
}

bool scan_number(std::string_view text, NumberText &out)
{
    take(text, '-');
    if (!take(text, '0')) {
        out.digits = take_digits(text);
        if (out.digits == 0) {
            return false;
        }
    }
    if (take(text, '.')) {
        const size_t zeros = out.digits == 0 ? zeros_at_front(text) : 0;
        const size_t count = take_digits(text);
        if (count == 0) {
            return false;
        }
        out.digits += count - zeros;
    }
    if (take(text, 'e') || take(text, 'E')) {
        out.has_exponent = true;
        if (!take(text, '+')) {
            take(text, '-');
        }
        if (take_digits(text) == 0) {
            return false;
        }
    }
    return text.empty();
}

// A number beyond what a double holds is nearer to 0 than to infinity.
bool is_tiny(std::string_view text)
{
    const size_t e = text.find_first_of("eE");
    const std::string_view digits = text.substr(0, e);
    const size_t point = std::min(digits.find('.'), digits.size());
    const size_t first = digits.find_first_of("123456789");
    int64_t exponent = 0;
    if (e != std::string_view::npos) {
        const char *begin = text.data() + e + (text[e + 1] == '+' ? 2 : 1);
        const char *end = text.data() + text.size();
        if (std::from_chars(begin, end, exponent).ec != std::errc()) {
            return *begin == '-';
        }
    }
    return exponent < static_cast<int64_t>(first) - static_cast<int64_t>(point);
}

// `text` has passed scan_number().
bool read_double(std::string_view text, double &out)
{
    const std::errc why =
        std::from_chars(text.data(), text.data() + text.size(), out).ec;
    if (why != std::errc()) {
        out = text[0] == '-' ? -0.0 : 0.0;
        return is_tiny(text);
    }
    return std::fabs(out) < kTooLarge;
}

} // namespace

bool append_float_text(std::string &out, std::string_view text)
{
    NumberText number;
    if (!scan_number(text, number)) {
        return false;
    }
    if (number.digits <= kDigits && !number.has_exponent) {
        out.append(text);
        return true;
    }
    double value = 0;
    if (!read_double(text, value)) {
        return false;
    }
    char buffer[32];
    const char *end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                    std::chars_format::general, kDigits)
                          .ptr;
    out.append(buffer, static_cast<size_t>(end - buffer));
    return true;
}

bool write_float_bytes(char *out, std::string_view text)
{
    NumberText number;
    double value = 0;
    if (!scan_number(text, number) || !read_double(text, value)) {
        return false;
    }
    const auto narrow = static_cast<float>(value);
    uint32_t bits = 0;
    static_assert(sizeof bits == sizeof narrow && sizeof bits == kFloatBytes);
    memcpy(&bits, &narrow, sizeof bits);
    for (size_t i = 0; i < kFloatBytes; i++) {
        out[i] = static_cast<char>(bits >> (8 * i) & 0xff);
    }
    return true;
}

} // namespace llmproxy
