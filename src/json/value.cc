// Reads JSON values over jansson with the flags this program always wants:
// NUL allowed in strings, and duplicate keys as the caller says. Error texts
// lose whatever they quote of the document, which may hold secrets.

#include "llm_proxy/json/value.h"

#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>

#include <string.h>

#include <jansson.h>

namespace llmproxy::json
{

namespace
{

// jansson ends a message with " near '<text>'" and quotes the escapes it
// cannot decode; a reason needs neither.
std::string_view without_quotes(std::string_view message)
{
    if (starts_with(message, "invalid Unicode")) {
        return "invalid Unicode escape";
    }
    return message.substr(0, message.find(" near '"));
}

[[nodiscard]] bool parse_with(std::string_view text, size_t flags, Ptr &out,
                              Error &err, size_t *line)
{
    json_error_t why;
    json_t *root = json_loadb(text.data(), text.size(), flags, &why);
    if (root == nullptr) {
        const auto row = static_cast<uint64_t>(std::max(why.line, 1));
        const auto column = static_cast<uint64_t>(std::max(why.column, 1));
        err.message = without_quotes(why.text);
        err.message += " (line ";
        append_u64(err.message, row);
        err.message += ", column ";
        append_u64(err.message, column);
        err.message += ')';
        if (line != nullptr) {
            *line = row;
        }
        return false;
    }
    out.reset(root);
    return true;
}

// As operator new: the new-handler is asked first. What jansson itself says of
// a value that found no memory is that its JSON is bad.
void *allocate(size_t size)
{
    for (;;) {
        void *const memory = malloc(std::max<size_t>(size, 1));
        const std::new_handler handler =
            memory == nullptr ? std::get_new_handler() : nullptr;
        if (handler == nullptr) {
            return memory;
        }
        handler();
    }
}

} // namespace

void release(json_t *value)
{
    json_decref(value);
}

void init()
{
    json_set_alloc_funcs(allocate, free);
    // 0 takes the seed from /dev/urandom.
    json_object_seed(0);
}

std::string version()
{
    return library_version("jansson", jansson_version_str(), JANSSON_VERSION);
}

bool parse(std::string_view text, Ptr &out, Error &err, size_t *line)
{
    return parse_with(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, out, err,
                      line);
}

bool parse_lenient(std::string_view text, Ptr &out, Error &err)
{
    return parse_with(text, JSON_ALLOW_NUL, out, err, nullptr);
}

json_t *get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? nullptr : value;
}

bool get_string(const json_t *object, const char *key, std::string_view &out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) {
        return false;
    }
    out = string_of(value);
    return true;
}

bool get_int(const json_t *object, const char *key, int64_t &out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) {
        return false;
    }
    out = json_integer_value(value);
    return true;
}

bool get_bool(const json_t *object, const char *key, bool &out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value)) {
        return false;
    }
    out = json_is_true(value);
    return true;
}

bool read_integer(const json_t *value, int64_t &out)
{
    if (json_is_integer(value)) {
        out = json_integer_value(value);
        return true;
    }
    const double real = json_real_value(value);
    // 2^53: beyond it a real does not say which integer was meant.
    if (!json_is_real(value) || real != std::floor(real) ||
        std::fabs(real) > 9007199254740992.0) {
        return false;
    }
    out = static_cast<int64_t>(real);
    return true;
}

std::string_view string_of(const json_t *value)
{
    if (!json_is_string(value)) {
        return {};
    }
    return {json_string_value(value), json_string_length(value)};
}

const char *type_name(const json_t *value)
{
    if (value == nullptr) {
        return "nothing";
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

std::vector<json_t *> elements(const json_t *array)
{
    std::vector<json_t *> out;
    out.reserve(json_array_size(array));
    for (size_t i = 0; i < json_array_size(array); i++) {
        out.push_back(json_array_get(array, i));
    }
    return out;
}

std::vector<std::string_view> keys(json_t *object)
{
    std::vector<std::string_view> out;
    out.reserve(json_object_size(object));
    for (void *at = json_object_iter(object); at != nullptr;
         at = json_object_iter_next(object, at)) {
        out.emplace_back(json_object_iter_key(at));
    }
    return out;
}

void wipe_string(json_t *value)
{
    if (json_is_string(value)) {
        explicit_bzero(const_cast<char *>(json_string_value(value)),
                       json_string_length(value));
    }
}

} // namespace llmproxy::json
