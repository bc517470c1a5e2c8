#ifndef LLM_PROXY_BASE_ERROR_H
#define LLM_PROXY_BASE_ERROR_H

#include <string>

namespace llmproxy
{

// What went wrong, for a person. A function that fails fills it and leaves
// its other results untouched.
struct Error {
    std::string message;
};

} // namespace llmproxy

#endif
