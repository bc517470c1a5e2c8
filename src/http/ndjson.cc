#include "llm_proxy/http/ndjson.h"
