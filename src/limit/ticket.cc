#include "llm_proxy/limit/ticket.h"
