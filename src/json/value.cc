#include "llm_proxy/json/value.h"
