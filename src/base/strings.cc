// ASCII text helpers without a locale.
#include "llm_proxy/base/strings.h"

#include <algorithm>

namespace llmproxy
{

namespace
{

// How many letters to insert, drop, replace or swap with the next, in any
// case of letters (optimal string alignment).
size_t edit_distance(std::string_view a, std::string_view b)
{
    std::vector<size_t> before;
    std::vector<size_t> above;
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.size(); i++) {
        before = above;
        above = row;
        row[0] = i;
        for (size_t j = 1; j <= b.size(); j++) {
            const char x = to_lower(a[i - 1]);
            const char y = to_lower(b[j - 1]);
            row[j] = std::min({above[j - 1] + (x == y ? 0 : 1), above[j] + 1,
                               row[j - 1] + 1});
            if (i > 1 && j > 1 && x == to_lower(b[j - 2]) &&
                to_lower(a[i - 2]) == y) {
                row[j] = std::min(row[j], before[j - 2] + 1);
            }
        }
    }
    return row[b.size()];
}

} // namespace

bool iequals_same_size(std::string_view a, std::string_view b)
{
    for (size_t i = 0; i < a.size(); i++) {
        // Most are equal as they stand.
        if (a[i] != b[i] && to_lower(a[i]) != to_lower(b[i])) {
            return false;
        }
    }
    return true;
}

bool ends_with(std::string_view text, std::string_view suffix)
{
    return text.size() >= suffix.size() &&
           text.substr(text.size() - suffix.size()) == suffix;
}

size_t ifind(std::string_view text, std::string_view what)
{
    for (size_t i = 0; i + what.size() <= text.size(); i++) {
        if (iequals(text.substr(i, what.size()), what)) {
            return i;
        }
    }
    return std::string_view::npos;
}

std::string to_lower(std::string_view text)
{
    std::string out(text);
    for (char &c : out) {
        c = to_lower(c);
    }
    return out;
}

std::vector<std::string_view> split_list(std::string_view text, char separator)
{
    std::vector<std::string_view> parts;
    size_t begin = 0;
    while (begin <= text.size()) {
        const size_t end = std::min(text.find(separator, begin), text.size());
        const std::string_view part = trim(text.substr(begin, end - begin));
        if (!part.empty()) {
            parts.push_back(part);
        }
        begin = end + 1;
    }
    return parts;
}

bool parse_u64(std::string_view text, uint64_t &out)
{
    if (text.empty()) {
        return false;
    }
    uint64_t value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') {
            return false;
        }
        const auto digit = static_cast<uint64_t>(c - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    out = value;
    return true;
}

std::string_view write_u64(char (&room)[kMaxDigits], uint64_t value)
{
    // Two digits a division.
    size_t at = kMaxDigits;
    while (value >= 10) {
        const auto pair = static_cast<unsigned>(value % 100);
        value /= 100;
        room[--at] = static_cast<char>('0' + pair % 10);
        room[--at] = static_cast<char>('0' + pair / 10);
    }
    if (value != 0 || at == kMaxDigits) {
        room[--at] = static_cast<char>('0' + value);
    }
    return {room + at, kMaxDigits - at};
}

void append_u64(std::string &out, uint64_t value)
{
    char digits[kMaxDigits];
    out += write_u64(digits, value);
}

bool percent_decode(std::string_view text, std::string &out)
{
    std::string decoded;
    decoded.reserve(text.size());
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] != '%') {
            decoded += text[i];
            continue;
        }
        if (text.size() - i < 3) {
            return false;
        }
        const int high = hex_value(text[i + 1]);
        const int low = hex_value(text[i + 2]);
        if (high == -1 || low == -1) {
            return false;
        }
        decoded += static_cast<char>(high * 16 + low);
        i += 2;
    }
    out = std::move(decoded);
    return true;
}

std::string library_version(std::string_view name, std::string_view running,
                            std::string_view built)
{
    std::string text(name);
    if (!running.empty()) {
        text.append("/").append(running);
    }
    return text.append(", built with ").append(built);
}

std::string_view nearest_name(std::string_view name,
                              const std::vector<std::string_view> &candidates)
{
    size_t best_distance = std::max<size_t>(name.size() / 3, 1) + 1;
    std::string_view best;
    for (const std::string_view candidate : candidates) {
        const size_t distance = edit_distance(name, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

void free_text(std::string &text)
{
    std::string().swap(text);
}

bool match_pattern(std::string_view pattern, std::string_view text)
{
    // Each part between stars is taken where it is found first; an earlier
    // place is never worse for what follows, so nothing is tried twice but
    // the current part.
    const size_t star = pattern.find('*');
    if (star == std::string_view::npos) {
        return pattern == text;
    }
    if (!starts_with(text, pattern.substr(0, star))) {
        return false;
    }
    text.remove_prefix(star);
    pattern.remove_prefix(star + 1);
    for (;;) {
        const size_t next = pattern.find('*');
        if (next == std::string_view::npos) {
            return ends_with(text, pattern);
        }
        const size_t found = text.find(pattern.substr(0, next));
        if (found == std::string_view::npos) {
            return false;
        }
        text.remove_prefix(found + next);
        pattern.remove_prefix(next + 1);
    }
}

} // namespace llmproxy
