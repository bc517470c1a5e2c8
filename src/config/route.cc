#include "llm_proxy/config/route.h"
