// Images and sounds in a request. They are most of the bytes of the bodies
// that hold them, so they are looked at once and not copied.

#include "base64_input.h"

#include "llm_proxy/base/strings.h"

#include <array>
#include <cstddef>
#include <string>

#include <string.h>

#include <jansson.h>

namespace llmproxy
{

namespace
{

enum class Kind : unsigned char { Other, Digit, Pad, Blank };

constexpr std::array<Kind, 256> make_kinds()
{
    std::array<Kind, 256> kinds{};
    for (size_t byte = 0; byte < kinds.size(); byte++) {
        const bool digit =
            (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
            (byte >= '0' && byte <= '9') || byte == '+' || byte == '/';
        const bool blank = byte == ' ' || (byte >= '\t' && byte <= '\r');
        kinds[byte] = digit         ? Kind::Digit
                      : blank       ? Kind::Blank
                      : byte == '=' ? Kind::Pad
                                    : Kind::Other;
    }
    return kinds;
}

constexpr std::array<Kind, 256> kKinds = make_kinds();

Kind kind_of(char c)
{
    return kKinds[static_cast<unsigned char>(c)];
}

// One character, however it is spelled.
struct Unit {
    Kind kind = Kind::Other;
    size_t size = 1;
};

// Of the escape at the front of `text`. PHP writes "\/", .NET "\u002B".
Unit escape_at(std::string_view text)
{
    constexpr std::string_view letters = "/ntrf";
    constexpr std::string_view meant = "/\n\t\r\f";
    constexpr size_t digits = 4;
    if (text.size() < 2) {
        return {};
    }
    const size_t letter = letters.find(text[1]);
    if (letter != std::string_view::npos) {
        return {kind_of(meant[letter]), 2};
    }
    int code = 0;
    for (const char c : text.substr(2, digits)) {
        code = code * 16 + hex_value(c);
    }
    const bool good = text[1] == 'u' && text.size() >= 2 + digits && code < 128;
    return {good ? kind_of(static_cast<char>(code)) : Kind::Other, 2 + digits};
}

Unit unit_at(const ClientText &data, size_t at)
{
    if (data.raw && data.text[at] == '\\') {
        return escape_at(data.text.substr(at));
    }
    return {kind_of(data.text[at]), 1};
}

bool check(const ClientText &data, bool &has_blanks)
{
    size_t digits = 0;
    size_t pads = 0;
    has_blanks = false;
    for (size_t at = 0; at < data.text.size();) {
        const size_t begin = at;
        while (at < data.text.size() && kind_of(data.text[at]) == Kind::Digit) {
            at++;
        }
        digits += at - begin;
        if (pads > 0 && at > begin) {
            return false;
        }
        if (at == data.text.size()) {
            break;
        }
        const Unit unit = unit_at(data, at);
        at += unit.size;
        if (unit.kind == Kind::Other ||
            (unit.kind == Kind::Digit && pads > 0)) {
            return false;
        }
        digits += unit.kind == Kind::Digit ? 1 : 0;
        pads += unit.kind == Kind::Pad ? 1 : 0;
        has_blanks = has_blanks || unit.kind == Kind::Blank;
    }
    return digits > 0 && pads <= 2 && (digits + pads) % 4 == 0;
}

// Moves all that is no blank to the front of `to`, where `data` stands; returns
// how much that is.
size_t compact(const ClientText &data, char *to)
{
    size_t size = 0;
    for (size_t at = 0; at < data.text.size();) {
        const Unit unit = unit_at(data, at);
        for (size_t i = 0; unit.kind != Kind::Blank && i < unit.size; i++) {
            to[size++] = data.text[at + i];
        }
        at += unit.size;
    }
    return size;
}

// Takes `what` off the front of `text`, where a slash may be escaped.
bool take(std::string_view &text, std::string_view what)
{
    size_t at = 0;
    for (const char c : what) {
        if (c == '/' && at < text.size() && text[at] == '\\') {
            at++;
        }
        if (at >= text.size() || text[at] != c) {
            return false;
        }
        at++;
    }
    text.remove_prefix(at);
    return true;
}

} // namespace

ClientText client_text(const Skeleton &skeleton, const json_t *string)
{
    ClientText out;
    out.text = json::string_of(string);
    out.raw = skeleton.raw_of(out.text, out.text);
    return out;
}

bool take_image_head(std::string_view &url)
{
    constexpr std::string_view heads[] = {
        "data:image/jpeg;base64,", "data:image/jpg;base64,",
        "data:image/png;base64,", "data:image/webp;base64,", "data:;base64,"};
    for (const std::string_view head : heads) {
        if (take(url, head)) {
            return true;
        }
    }
    return false;
}

bool is_remote(std::string_view url)
{
    return take(url, "http://") || take(url, "https://");
}

bool append_base64_input(Skeleton &skeleton, const ClientText &data,
                         json_t *list)
{
    bool has_blanks = false;
    if (!check(data, has_blanks)) {
        return false;
    }
    std::string own;
    std::string_view text = data.text;
    if (has_blanks && data.raw) {
        // Spaces behind it leave the body's meaning as it was: the request may
        // be translated once more.
        char *place = skeleton.editable(text);
        const size_t size = compact(data, place);
        memset(place + size, ' ', text.size() - size);
        text = text.substr(0, size);
    } else if (has_blanks) {
        own.resize(text.size());
        own.resize(compact(data, own.data()));
        text = own;
    }
    if (data.raw) {
        own = skeleton.stand_in(text);
        text = own;
    }
    json_array_append_new(list, json_stringn_nocheck(text.data(), text.size()));
    return true;
}

} // namespace llmproxy
