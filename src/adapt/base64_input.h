#ifndef LLM_PROXY_SRC_ADAPT_BASE64_INPUT_H
#define LLM_PROXY_SRC_ADAPT_BASE64_INPUT_H

#include <string_view>

#include "skeleton.h"

struct json_t;

namespace llmproxy
{

// Base64 as clients send it, of an image or a sound: in the standard alphabet,
// padded, with white space anywhere in it, which Ollama does not take. Large
// ones are ranges of the client's body (see Skeleton), and stay where they
// are.

// What a client wrote: a string of the tree, or what it stands for.
struct ClientText {
    std::string_view text;
    bool raw = false; // the inside of a JSON string, in the client's body
};
ClientText client_text(const Skeleton &skeleton, const json_t *string);

// Takes the head of a data URL off, if it is that of an image Ollama reads.
[[nodiscard]] bool take_image_head(std::string_view &url);
[[nodiscard]] bool is_remote(std::string_view url);

// Appends `data` to `list`, without its blanks. False if it is no base64.
[[nodiscard]] bool append_base64_input(Skeleton &skeleton,
                                       const ClientText &data, json_t *list);

} // namespace llmproxy

#endif
