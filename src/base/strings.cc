#include "llm_proxy/base/strings.h"
