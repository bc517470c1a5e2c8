#ifndef LLM_PROXY_SRC_UPSTREAM_CURL_OPTIONS_H
#define LLM_PROXY_SRC_UPSTREAM_CURL_OPTIONS_H

#include <curl/curl.h>

namespace llmproxy
{

// Say in the log which option libcurl did not take, and why; false.
bool option_refused(CURLoption option, CURLcode code);
bool option_refused(CURLMoption option, CURLMcode code);

// False if libcurl did not take the option, which the log then names.
template <typename Value>
bool set_option(CURL *easy, CURLoption option, Value value)
{
    const CURLcode code = curl_easy_setopt(easy, option, value);
    return code == CURLE_OK || option_refused(option, code);
}

template <typename Value>
bool set_option(CURLM *multi, CURLMoption option, Value value)
{
    const CURLMcode code = curl_multi_setopt(multi, option, value);
    return code == CURLM_OK || option_refused(option, code);
}

} // namespace llmproxy

#endif
