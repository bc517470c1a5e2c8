#ifndef LLM_PROXY_SRC_UPSTREAM_PARSED_URLS_H
#define LLM_PROXY_SRC_UPSTREAM_PARSED_URLS_H

#include "llm_proxy/base/handles.h"

#include <map>
#include <string>

#include <curl/curl.h>

namespace llmproxy
{

// URLs that were asked for before, as libcurl has parsed them: a tenth of what
// a small request costs otherwise. There are as many as backends have
// endpoints.
class ParsedUrls
{
public:
    // nullptr if it is no URL. Lives as long as *this.
    CURLU *find(const std::string &url);

private:
    std::map<std::string, Handle<CURLU, curl_url_cleanup>> urls_;
};

} // namespace llmproxy

#endif
