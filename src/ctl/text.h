#ifndef LLM_PROXY_CTL_TEXT_H
#define LLM_PROXY_CTL_TEXT_H

#include "llm_proxy/daemon/control_commands.h"

#include <string>
#include <vector>

struct json_t;

namespace llmproxy
{

using Lines = std::vector<std::string>;

// A good answer of the daemon for people, a line each, without their ends.
Lines show(ControlCommand command, const json_t *answer);
// The parts of `top`, for a screen that has to choose.
struct TopText {
    std::string head;
    Lines labels;  // their titles first; empty = there are none
    Lines running; // the same
};
TopText show_top(const json_t *answer);

} // namespace llmproxy

#endif
