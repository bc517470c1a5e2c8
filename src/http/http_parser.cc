#include "llm_proxy/http/http_parser.h"
