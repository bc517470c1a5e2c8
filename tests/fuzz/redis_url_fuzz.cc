// Reads bytes as the URL of a Redis server. What is accepted must be within
// bounds and, shown, hold no password; what is refused must say why without
// one.

#include "llm_proxy/config/redis_url.h"

#include <cstdlib>

using namespace llmproxy;

namespace
{

void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const std::string_view text(reinterpret_cast<const char *>(data), size);
    RedisUrl url;
    Error err;
    if (!parse_redis_url(text, url, err)) {
        require(!err.message.empty());
        require(url == RedisUrl());
        return 0;
    }
    require(url.host.empty() != url.unix_path.empty());
    require(url.port >= 1 && url.db <= 1'000'000);
    require(url.unix_path.size() < 108);
    require(url.user.empty() || !url.password.empty());
    for (const std::string *part :
         {&url.host, &url.unix_path, &url.user, &url.password}) {
        require(part->find('\0') == std::string::npos);
    }
    const std::string shown = masked_redis_url(url);
    require((shown.find(":***@") != std::string::npos) || url.password.empty());
    // Without its login it reads as the same server.
    if (url.password.empty() && url.unix_path.empty()) {
        RedisUrl again;
        require(parse_redis_url(shown, again, err) && again == url);
    }
    return 0;
}
