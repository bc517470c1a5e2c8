#ifndef LLM_PROXY_JSON_VALUE_H
#define LLM_PROXY_JSON_VALUE_H

#include "llm_proxy/base/error.h"
#include "llm_proxy/base/handles.h"

#include <cstdint>
#include <string>
#include <string_view>

struct json_t;

// Typed reading over jansson, for floors above that must not see it (config)
// and for adapt, which may.
namespace llmproxy::json
{

void release(json_t *value); // json_decref
using Ptr = Handle<json_t, release>; // an owned root; borrowed values are json_t *

// Seeds jansson's hashes from the kernel. Once, before any thread starts.
void init();

// Parses a whole document: duplicates refused, NUL in strings allowed.
// On failure `err` is "reason (line L, column C)" without any of the text.
[[nodiscard]] bool parse(std::string_view text, Ptr &out, Error &err);
// The same, for what a backend sent: duplicate keys pass, the last one wins.
[[nodiscard]] bool parse_lenient(std::string_view text, Ptr &out, Error &err);

// Members of an object; nullptr or false when absent, null, of another type.
json_t *get(const json_t *object, const char *key); // nullptr if null too
bool get_string(const json_t *object, const char *key, std::string_view &out);
bool get_int(const json_t *object, const char *key, int64_t &out);
bool get_bool(const json_t *object, const char *key, bool &out);
std::string_view string_of(const json_t *value); // empty if no string
// Compact text, 15 significant digits for reals (0.7 stays 0.7).
std::string dump(const json_t *value);
void append_dump(std::string &out, const json_t *value);

} // namespace llmproxy::json

#endif
