#include "llm_proxy/limit/memory_limiter.h"
