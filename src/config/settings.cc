#include "llm_proxy/config/settings.h"
