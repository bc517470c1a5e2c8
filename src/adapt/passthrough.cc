#include "llm_proxy/adapt/adapter.h"
