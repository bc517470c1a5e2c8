#include "llm_proxy/base/clock.h"
