// Prints JSON values. Not by jansson: it has one precision for all reals of a
// document, and either loses digits of some or shows noise behind others.

#include "llm_proxy/json/value.h"
#include "llm_proxy/json/writer.h"

#include <charconv>
#include <system_error>

#include <jansson.h>

namespace llmproxy::json
{

namespace
{

void append_integer(std::string &out, json_int_t value)
{
    char buffer[24];
    const char *end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
    out.append(buffer, static_cast<size_t>(end - buffer));
}

// With the fewest digits from 15 on that read back equal, which 17 always do.
// A real stays one: 3.0.
void append_real(std::string &out, double value)
{
    char buffer[32];
    const char *end = buffer;
    double back = 0;
    for (int digits = 15; digits <= 17; digits++) {
        end = std::to_chars(buffer, buffer + sizeof buffer, value,
                            std::chars_format::general, digits)
                  .ptr;
        if (std::from_chars(buffer, end, back).ec == std::errc() &&
            back == value) {
            break;
        }
    }
    const std::string_view text(buffer, static_cast<size_t>(end - buffer));
    const size_t exponent = text.find('e');
    if (exponent == std::string_view::npos) {
        out.append(text);
        out += text.find('.') == std::string_view::npos ? ".0" : "";
        return;
    }
    // "e-07" is e-7, "e+22" is e22.
    out.append(text.substr(0, exponent + 1));
    out += text[exponent + 1] == '-' ? "-" : "";
    out.append(text.substr(text.find_first_not_of("+-0", exponent + 1)));
}

void append_object(std::string &out, json_t *object)
{
    char before = '{';
    const char *name = nullptr;
    json_t *value = nullptr;
    json_object_foreach(object, name, value)
    {
        out += before;
        append_string(out, name);
        out += ':';
        append_dump(out, value);
        before = ',';
    }
    out += before == '{' ? "{}" : "}";
}

void append_array(std::string &out, const json_t *array)
{
    out += '[';
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i > 0) {
            out += ',';
        }
        append_dump(out, json_array_get(array, i));
    }
    out += ']';
}

} // namespace

std::string dump(const json_t *value)
{
    std::string out;
    append_dump(out, value);
    return out;
}

void append_dump(std::string &out, const json_t *value)
{
    if (value == nullptr) {
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        append_object(out, const_cast<json_t *>(value));
        return;
    case JSON_ARRAY:
        append_array(out, value);
        return;
    case JSON_STRING:
        append_string(out, string_of(value));
        return;
    case JSON_INTEGER:
        append_integer(out, json_integer_value(value));
        return;
    case JSON_REAL:
        append_real(out, json_real_value(value));
        return;
    case JSON_TRUE:
        out += "true";
        return;
    case JSON_FALSE:
        out += "false";
        return;
    case JSON_NULL:
        out += "null";
        return;
    }
}

} // namespace llmproxy::json
