#include "llm_proxy/http/message.h"
