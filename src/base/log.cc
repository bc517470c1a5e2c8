#include "llm_proxy/base/log.h"
