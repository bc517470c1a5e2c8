#include "llm_proxy/http/sse.h"
