// One request whose answer is only a yes or a no, for --healthcheck.
#include "llm_proxy/upstream/health_check.h"

#include "llm_proxy/base/strings.h"

#include <memory>

#include "curl_options.h"

namespace llmproxy
{

namespace
{

constexpr const char *kDefaultPath = "/healthz";
constexpr std::string_view kUnix = "unix:";

struct Place {
    std::string socket; // empty = TCP
    std::string url;
};

bool find_place(const std::string &url, Place &out, Error &err)
{
    if (starts_with(url, kUnix)) {
        const std::string rest = url.substr(kUnix.size());
        const size_t colon = rest.find(":/");
        out.socket = rest.substr(0, colon);
        out.url = "http://localhost" + (colon == std::string::npos
                                            ? kDefaultPath
                                            : rest.substr(colon + 1));
        return true;
    }
    const size_t host = starts_with(url, "http://") ? 7 : url.size();
    if (host == url.size()) {
        err.message =
            "must be http://host[:port][/path] or unix:/socket[:/path]";
        return false;
    }
    out.url = url;
    if (url.find('/', host) == std::string::npos) {
        out.url += kDefaultPath;
    }
    return true;
}

size_t drop_cb(char * /*bytes*/, size_t size, size_t count, void * /*data*/)
{
    return size * count;
}

} // namespace

bool check_health(const std::string &url, int64_t timeout_ms, Error &err)
{
    Place place;
    if (!find_place(url, place, err)) {
        return false;
    }
    const std::unique_ptr<CURL, void (*)(CURL *)> easy(curl_easy_init(),
                                                       curl_easy_cleanup);
    char why[CURL_ERROR_SIZE] = "";
    if (easy == nullptr || !set_option(easy.get(), CURLOPT_ERRORBUFFER, why) ||
        !set_option(easy.get(), CURLOPT_URL, place.url.c_str()) ||
        !set_option(easy.get(), CURLOPT_PROXY, "") ||
        !set_option(easy.get(), CURLOPT_NOSIGNAL, 1L) ||
        !set_option(easy.get(), CURLOPT_TIMEOUT_MS,
                    static_cast<long>(timeout_ms)) ||
        !set_option(easy.get(), CURLOPT_WRITEFUNCTION, drop_cb) ||
        (!place.socket.empty() &&
         !set_option(easy.get(), CURLOPT_UNIX_SOCKET_PATH,
                     place.socket.c_str()))) {
        err.message = "libcurl gives no handle for it";
        return false;
    }
    const CURLcode code = curl_easy_perform(easy.get());
    if (code != CURLE_OK) {
        err.message = why[0] != '\0' ? why : curl_easy_strerror(code);
        return false;
    }
    long status = 0;
    curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        err.message = "answers " + std::to_string(status);
    }
    return status == 200;
}

} // namespace llmproxy
