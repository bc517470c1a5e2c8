#include "llm_proxy/http/header_lint.h"
