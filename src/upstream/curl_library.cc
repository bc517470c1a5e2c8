// libcurl as a library: its set-up, its versions, and options it refuses.
#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"
#include "llm_proxy/upstream/upstream_pool.h"

#include <algorithm>

#include "curl_options.h"

namespace llmproxy
{

bool UpstreamPool::global_init()
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

std::string UpstreamPool::version()
{
    const std::string all = curl_version(); // "libcurl/7.88.1 OpenSSL/3.0.17"
    const size_t others = std::min(all.find(' '), all.size());
    return library_version("libcurl",
                           curl_version_info(CURLVERSION_NOW)->version,
                           LIBCURL_VERSION) +
           ", with" + all.substr(others);
}

bool option_refused(CURLoption option, CURLcode code)
{
    const curl_easyoption *known = curl_easy_option_by_id(option);
    log_error("upstream: libcurl refuses %s: %s",
              known == nullptr ? "an option" : known->name,
              curl_easy_strerror(code));
    return false;
}

bool option_refused(CURLMoption option, CURLMcode code)
{
    log_error("upstream: libcurl refuses option %d of its multi handle: %s",
              static_cast<int>(option), curl_multi_strerror(code));
    return false;
}

} // namespace llmproxy
