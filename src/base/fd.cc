#include "llm_proxy/base/fd.h"
