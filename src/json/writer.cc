#include "llm_proxy/json/writer.h"
