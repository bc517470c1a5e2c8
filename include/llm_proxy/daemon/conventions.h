#ifndef LLM_PROXY_DAEMON_CONVENTIONS_H
#define LLM_PROXY_DAEMON_CONVENTIONS_H

// What llm-proxyd and llm-proxyctl agree upon.
namespace llmproxy
{

// Exit codes, as sysexits(3) has them.
constexpr int kExitOk = 0;
constexpr int kExitUsage = 64;        // the command line is off
constexpr int kExitNoInput = 66;      // the file of -c cannot be read
constexpr int kExitUnavailable = 69;  // the limits' store, or the daemon
constexpr int kExitSoftware = 70;     // a library cannot be used
constexpr int kExitOs = 71;           // an address cannot be listened on
constexpr int kExitCannotCreate = 73; // a log or pid file cannot be made
constexpr int kExitRunning = 75;      // another one has the pid file
constexpr int kExitPartial = 75;      // a worker has not answered
constexpr int kExitPermission = 77;   // an address is not ours to listen on
constexpr int kExitConfig = 78;       // the configuration is wrong

// llm-proxy/llm-proxy.conf below the sysconfdir that was built for.
extern const char *const kDefaultConfig;
// As the packaged configuration has it.
constexpr const char *kDefaultControlSocket = "/run/llm-proxy/control.sock";

} // namespace llmproxy

#endif
