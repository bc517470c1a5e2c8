#include "llm_proxy/config/tokens.h"
