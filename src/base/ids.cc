#include "llm_proxy/base/ids.h"
