// Keeps URLs in libcurl's own form.
#include "parsed_urls.h"

namespace llmproxy
{

CURLU *ParsedUrls::find(const std::string &url)
{
    Handle<CURLU, curl_url_cleanup> &parsed = urls_[url];
    if (parsed == nullptr) {
        parsed.reset(curl_url());
        if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(),
                         CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
            parsed.reset();
        }
    }
    return parsed.get();
}

} // namespace llmproxy
