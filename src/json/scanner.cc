#include "llm_proxy/json/scanner.h"
