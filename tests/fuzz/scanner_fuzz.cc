// Feeds a document to the body scanner whole and in pieces, and compares its
// verdict with jansson's. The first byte chooses the pieces' size.

#include "llm_proxy/json/scanner.h"

#include <cstdlib>
#include <cstring>

#include <jansson.h>

using namespace llmproxy::json;

namespace
{

void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

bool scan(BodyScanner &scanner, std::string_view text, size_t piece)
{
    bool ok = true;
    for (size_t at = 0; at < text.size(); at += piece) {
        ok = scanner.feed(text.substr(at, piece)) && ok;
    }
    return scanner.finish() && ok;
}

void check_facts(const BodyFacts &facts, std::string_view text)
{
    for (const Range &range : facts.long_strings) {
        require(range.size() > kLongString && range.end < text.size());
        require(text[range.begin - 1] == '"' && text[range.end] == '"');
    }
    if (facts.model_kind == MemberKind::String) {
        require(facts.model.size() >= 2 && facts.model.end <= text.size());
        require(text[facts.model.begin] == '"');
        require(text[facts.model.end - 1] == '"');
    }
}

// What jansson cannot hold, or we refuse beyond JSON, on purpose.
bool may_differ(bool ours, const ScanError &fault, const json_error_t &theirs,
                std::string_view text)
{
    if (!ours) {
        // jansson 2.14 passes over a NUL right behind a number.
        return text.find('\0') != std::string_view::npos ||
               fault.kind == ScanError::Kind::NotObject ||
               fault.kind == ScanError::Kind::TooManyKeys ||
               fault.kind == ScanError::Kind::DuplicateKey ||
               fault.kind == ScanError::Kind::ModelCase;
    }
    const enum json_error_code code = json_error_code(&theirs);
    return code == json_error_numeric_overflow ||
           code == json_error_null_byte_in_key ||
           strstr(theirs.text, "invalid Unicode") != nullptr;
}

void compare_model(json_t *root, const BodyFacts &facts)
{
    const json_t *model = json_object_get(root, "model");
    require((model == nullptr) == (facts.model_kind == MemberKind::Absent));
    if (json_is_string(model)) {
        require(std::string_view(json_string_value(model),
                                 json_string_length(model))
                    .substr(0, kMaxModelText + 1) == facts.model_text);
    }
    require(json_is_true(json_object_get(root, "stream")) == facts.stream);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const std::string_view text(reinterpret_cast<const char *>(data) + 1,
                                size - 1);
    BodyScanner whole;
    BodyScanner cut;
    const bool ok = scan(whole, text, text.size() + 1);
    require(scan(cut, text, data[0] % 19U + 1) == ok);
    require(whole.error().kind == cut.error().kind &&
            whole.error().line == cut.error().line &&
            whole.error().column == cut.error().column &&
            whole.error().message == cut.error().message);
    require(whole.facts().model_text == cut.facts().model_text &&
            whole.facts().long_strings.size() ==
                cut.facts().long_strings.size());

    json_error_t why;
    json_t *root = json_loadb(text.data(), text.size(), JSON_ALLOW_NUL, &why);
    if (ok) {
        check_facts(whole.facts(), text);
    }
    if (ok != (root != nullptr)) {
        require(may_differ(ok, whole.error(), why, text));
    } else if (ok) {
        compare_model(root, whole.facts());
    }
    json_decref(root);
    return 0;
}
