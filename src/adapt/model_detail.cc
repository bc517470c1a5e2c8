// Asks Ollama what it knows of a model and writes it as OpenAI's object, with
// the capabilities and the length of the context beside.

#include "llm_proxy/adapt/model_detail.h"

#include "llm_proxy/json/value.h"
#include "llm_proxy/json/writer.h"

#include <utility>

#include <jansson.h>

#include "backend_error.h"
#include "head.h"
#include "model_members.h"

namespace llmproxy
{

namespace
{

// A license, a template and a list of tensors: some 100 KiB as a rule.
constexpr size_t kMaxBody = size_t{8} << 20;
// What is kept of it.
constexpr size_t kMaxMembers = size_t{4} << 10;
constexpr size_t kMaxMessage = size_t{1} << 10;

bool append_capabilities(std::string &out, const json_t *said)
{
    const json_t *list = json::get(said, "capabilities");
    if (!json_is_array(list)) {
        return true; // an old Ollama
    }
    out += ",\"capabilities\":[";
    const char *between = "";
    for (const json_t *item : json::elements(list)) {
        if (json_is_string(item)) {
            out += between;
            json::append_string(out, json::string_of(item));
            between = ",";
        }
        if (out.size() > kMaxMembers) {
            return false;
        }
    }
    out += ']';
    return true;
}

void append_context(std::string &out, const json_t *said)
{
    const json_t *info = json::get(said, "model_info");
    std::string key(json::string_of(json::get(info, "general.architecture")));
    key += ".context_length";
    int64_t length = 0;
    if (json::get_int(info, key.c_str(), length) && length > 0) {
        out += ",\"context_length\":";
        append_u64(out, static_cast<uint64_t>(length));
    }
}

ModelDetail refused(ApiError error)
{
    ModelDetail out;
    out.error = std::move(error);
    if (out.error.message.size() > kMaxMessage) {
        out.error.message.resize(kMaxMessage);
    }
    return out;
}

ModelDetail unusable(std::string why)
{
    ApiError error;
    (void)refuse(error, ApiErrorKind::BackendBadResponse, std::move(why));
    return refused(error);
}

} // namespace

UpstreamRequest model_detail_request(std::string_view name,
                                     const BackendConfig &backend)
{
    UpstreamRequest out;
    out.path = "/api/show";
    out.headers.emplace_back("Content-Type: application/json");
    out.headers.emplace_back("Accept: application/json");
    if (!backend.api_key.empty()) {
        out.headers.push_back("Authorization: Bearer " + backend.api_key);
    }
    out.own = "{\"model\":";
    json::append_string(out.own, name);
    out.own += ",\"verbose\":false}";
    out.body.emplace_back(out.own);
    return out;
}

bool ModelDetailReader::fail(const char *why)
{
    unusable_ = why;
    return false;
}

bool ModelDetailReader::head(const ReplyHead &head)
{
    status_ = head.status;
    retry_after_s_ = reply_retry_after(head);
    if (status_ >= 400 && status_ <= 599) {
        return true;
    }
    const char *why = unusable_reply(head);
    if (why != nullptr) {
        return fail(why);
    }
    return has_media_type(head, "application/json") ||
           fail("The backend's answer is not JSON; check its base URL.");
}

bool ModelDetailReader::data(std::string_view bytes)
{
    if (status_ >= 400) {
        body_.append(bytes.substr(0, kMaxErrorBody - body_.size()));
        return true;
    }
    if (bytes.size() > kMaxBody - body_.size()) {
        return fail("The backend says more than 8 MiB about the model.");
    }
    body_.append(bytes);
    return true;
}

ModelDetail ModelDetailReader::finish()
{
    if (!unusable_.empty()) {
        return unusable(unusable_);
    }
    if (status_ >= 400) {
        return refused(
            map_ollama_error({status_, retry_after_s_, body_, backend_}));
    }
    json::Ptr root;
    Error err;
    if (!json::parse_lenient(body_, root, err)) {
        return unusable("The backend's answer is not JSON: " + err.message +
                        '.');
    }
    const json_t *error = json::get(root.get(), "error");
    if (json_is_string(error)) {
        return refused(map_ollama_text(json::string_of(error)));
    }
    // Every Ollama has them; they tell its answer from any other object.
    if (!json_is_object(json::get(root.get(), "details"))) {
        return unusable("The backend's answer has no details of a model.");
    }
    ModelDetail out;
    append_model_members(out.members, name_, root.get(), now_s_);
    if (!append_capabilities(out.members, root.get())) {
        return unusable("The backend names capabilities of more than 4 KiB.");
    }
    append_context(out.members, root.get());
    return out;
}

std::string render_model_detail(std::string_view id, const ModelDetail &detail)
{
    std::string out = "{\"id\":";
    json::append_string(out, id);
    out += ',';
    out += detail.members;
    out += '}';
    return out;
}

} // namespace llmproxy
