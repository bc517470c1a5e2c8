#ifndef LLM_PROXY_BASE_FILES_H
#define LLM_PROXY_BASE_FILES_H

#include "llm_proxy/base/error.h"

#include <cstddef>
#include <string>
#include <string_view>

// Small files as a whole: settings, tokens, state. They block, so they are for
// the start and for the supervisor.
namespace llmproxy
{

constexpr size_t kMaxFile = size_t{64} << 20;

// Reads a whole regular file; a pipe could hold the caller up for ever.
// `is_public`: everyone may read it. False with the system's reason, ENOENT in
// errno if there is no such file.
[[nodiscard]] bool read_file(const std::string &path, std::string &out,
                             bool &is_public, Error &err);
// Replaces a file, or makes it, for its owner only. Whenever it is looked at,
// after a crash of the machine as well, either the old or the new text is
// there, whole. Uses `path`.new for a moment.
[[nodiscard]] bool replace_file(const std::string &path, std::string_view text,
                                Error &err);

} // namespace llmproxy

#endif
