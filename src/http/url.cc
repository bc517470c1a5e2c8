#include "llm_proxy/http/url.h"
