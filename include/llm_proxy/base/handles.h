#ifndef LLM_PROXY_BASE_HANDLES_H
#define LLM_PROXY_BASE_HANDLES_H

#include <memory>

namespace llmproxy
{

// unique_ptr for what a C library allocates: Handle<T, free_function>.
template <typename T, void (*Free)(T *)>
struct HandleDeleter {
    void operator()(T *object) const { Free(object); }
};

template <typename T, void (*Free)(T *)>
using Handle = std::unique_ptr<T, HandleDeleter<T, Free>>;

} // namespace llmproxy

#endif
