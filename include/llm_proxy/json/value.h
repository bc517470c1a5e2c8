#ifndef LLM_PROXY_JSON_VALUE_H
#define LLM_PROXY_JSON_VALUE_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/base/handles.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

struct json_t;

// Typed reading over jansson, for floors above that must not see it (config)
// and for adapt, which may.
namespace llmproxy::json
{

void release(json_t *value); // json_decref
using Ptr =
    Handle<json_t, release>; // an owned root; borrowed values are json_t *

// Seeds jansson's hashes from the kernel, and lets std::set_new_handler()'s
// handler speak for memory that jansson does not get. Once, before any thread
// starts.
void init();
// jansson's, for -V.
std::string version();

// Parses a whole document: duplicates refused, NUL in strings allowed.
// The top level is an object or an array. On failure `err` is
// "reason (line L, column C)" without any of the text, and `line` is L.
[[nodiscard]] bool parse(std::string_view text, Ptr &out, Error &err,
                         size_t *line = nullptr);
// The same, for what a backend sent: duplicate keys pass, the last one wins.
[[nodiscard]] bool parse_lenient(std::string_view text, Ptr &out, Error &err);

// Members of an object; nullptr or false when absent, null, of another type.
json_t *get(const json_t *object, const char *key); // nullptr if null too
bool get_string(const json_t *object, const char *key, std::string_view &out);
bool get_int(const json_t *object, const char *key, int64_t &out);
bool get_bool(const json_t *object, const char *key, bool &out);
// Of a value: an integer, or a real without a fraction.
[[nodiscard]] bool read_integer(const json_t *value, int64_t &out);
std::string_view string_of(const json_t *value); // empty if no string
// "an object", "a string"...; "nothing" for nullptr.
const char *type_name(const json_t *value);
// Borrowed; empty for anything else. The views live as long as the object.
std::vector<json_t *> elements(const json_t *array);
std::vector<std::string_view> keys(json_t *object);
// Overwrites the text of a string that was a secret.
void wipe_string(json_t *value);
// Compact text; reals with 15 digits (0.7 stays 0.7), or with as many as it
// takes to read back the same value.
std::string dump(const json_t *value);
void append_dump(std::string &out, const json_t *value);

} // namespace llmproxy::json

#endif
