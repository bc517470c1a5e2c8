#ifndef LLM_PROXY_SRC_ADAPT_MODEL_MEMBERS_H
#define LLM_PROXY_SRC_ADAPT_MODEL_MEMBERS_H

#include "llm_proxy/base/strings.h"
#include "llm_proxy/json/value.h"
#include "llm_proxy/json/writer.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "timestamp.h"

namespace llmproxy
{

// Of Ollama's [host[:port]/][namespace/]model[:tag].
inline std::string_view namespace_of(std::string_view name)
{
    const size_t last = name.rfind('/');
    if (last == std::string_view::npos) {
        return "library";
    }
    name = name.substr(0, last);
    const size_t before = name.rfind('/');
    return before == std::string_view::npos ? name : name.substr(before + 1);
}

// What OpenAI's object of a model has behind its id, of one that Ollama calls
// `name` and describes in `said`, in a list or alone.
inline void append_model_members(std::string &out, std::string_view name,
                                 const json_t *said, int64_t now_s)
{
    out += "\"object\":\"model\",\"created\":";
    const int64_t created =
        unix_seconds(json::string_of(json::get(said, "modified_at")), now_s);
    append_u64(out, static_cast<uint64_t>(created < 0 ? 0 : created));
    out += ",\"owned_by\":";
    json::append_string(out, namespace_of(name));
}

} // namespace llmproxy

#endif
