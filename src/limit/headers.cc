#include "llm_proxy/limit/headers.h"
