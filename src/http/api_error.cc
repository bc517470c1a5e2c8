#include "llm_proxy/http/api_error.h"
