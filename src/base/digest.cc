#include "llm_proxy/base/digest.h"
