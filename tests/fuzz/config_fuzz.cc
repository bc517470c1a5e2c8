// Feeds bytes to the readers of the configuration: as the settings file, as
// the list of tokens, and as the value of each setting. Whatever is accepted
// must be within bounds, and no problem may be empty.

#include "llm_proxy/config/settings.h"

#include <cstdlib>

#include <sys/mman.h>
#include <unistd.h>

using namespace llmproxy;

namespace
{

void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

// A file in memory that load_config() can open by name.
const std::string &file_with(std::string_view text)
{
    static const int fd = memfd_create("llm-proxy.conf", MFD_CLOEXEC);
    static const std::string path = "/proc/self/fd/" + std::to_string(fd);
    require(fd != -1 && ftruncate(fd, 0) == 0);
    require(pwrite(fd, text.data(), text.size(), 0) ==
            static_cast<ssize_t>(text.size()));
    return path;
}

void check(const Config &config)
{
    require(!config.listen.empty() && config.tokens.size() > 0);
    require(config.workers >= 1 && config.workers <= 64);
    require(config.max_body_bytes >= 1 &&
            config.max_body_bytes <= config.max_buffered_bytes);
    require(config.connect_timeout_ms > 0 && config.drain_delay_ms >= 0);
    require(config.dump.size() == setting_rows().size());
    for (const BackendConfig &backend : config.backends) {
        require(!backend.url.text.empty());
    }
    for (const AddressRange &range : config.trusted_proxies) {
        require(range.prefix <= 128);
    }
    for (const Principal &principal : config.tokens.principals()) {
        require(!principal.label.empty() && principal.expires_s >= 0);
    }
}

void load(const std::string &path, const Environment &environment)
{
    Config config;
    std::vector<Problem> problems;
    bool readable = false;
    if (load_config(path, environment, config, problems, readable)) {
        require(problems.empty());
        check(config);
        return;
    }
    require(!problems.empty());
    for (const Problem &problem : problems) {
        require(!problem.where.empty() && !problem.message.empty());
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char tokens[] =
        "[{\"token\":\"demo-key-123\",\"label\":\"demo\"}]";
    if (size == 0) {
        return 0;
    }
    const std::string text(reinterpret_cast<const char *>(data) + 1, size - 1);
    const std::vector<SettingRow> &rows = setting_rows();
    const size_t choice = data[0] % (rows.size() + 2);
    if (choice == rows.size()) {
        load(file_with(text), {});
    } else if (choice == rows.size() + 1) {
        load("", {{"TOKENS_JSON", text}});
    } else if (std::string_view(rows[choice].name).find("_FILE") ==
               std::string_view::npos) {
        Environment environment = {{"TOKENS_JSON", tokens}};
        environment[rows[choice].name] = text;
        load("", environment);
    }
    return 0;
}
