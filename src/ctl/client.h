#ifndef LLM_PROXY_CTL_CLIENT_H
#define LLM_PROXY_CTL_CLIENT_H

#include "llm_proxy/base/error.h"

#include <string>

namespace llmproxy
{

struct CtlError : Error {
    int code = 0; // to exit with
};

// Where the daemon's control socket is: `given`, or what the settings in
// `config` (empty = the default file, where it exists) and the environment
// say.
[[nodiscard]] bool find_socket(const std::string &given,
                               const std::string &config, std::string &out,
                               CtlError &err);
// Says one line to the daemon and reads its answer to the end.
[[nodiscard]] bool ask_daemon(const std::string &socket,
                              const std::string &line, std::string &answer,
                              CtlError &err);

} // namespace llmproxy

#endif
