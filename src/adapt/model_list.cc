#include "llm_proxy/adapt/model_list.h"
