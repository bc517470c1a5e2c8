// Judges a header block by rules of our own before llhttp sees it. One table
// look-up a byte finds what may not be there; the few fields that decide about
// framing, keep-alive and credentials are picked out on the way.
#include "llm_proxy/http/header_lint.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/http/url.h"

#include <algorithm>

#include "chars.h"

namespace llmproxy
{

namespace
{

bool fail(HttpFault &fault, int status, const char *rule, const char *message)
{
    fault.status = status;
    fault.rule = rule;
    fault.message = message;
    return false;
}

// Takes the next line, without its CRLF, off the front of `block`. A CR in
// the line is left to the check of its characters: no class has it.
bool take_line(std::string_view &block, std::string_view &line,
               HttpFault &fault)
{
    const size_t end = block.find('\n');
    if (end == std::string_view::npos) {
        return fail(fault, 400, "L1", "The header block has no end.");
    }
    if (end == 0 || block[end - 1] != '\r') {
        return fail(fault, 400, "L1", "A line ends with LF without a CR.");
    }
    line = block.substr(0, end - 1);
    block.remove_prefix(end + 1);
    return true;
}

bool parse_method(std::string_view name, Method &method)
{
    static constexpr Method methods[] = {
        Method::Get,    Method::Head,    Method::Post,  Method::Put,
        Method::Delete, Method::Options, Method::Patch, Method::Trace};
    for (const Method known : methods) {
        if (name == method_name(known)) {
            method = known;
            return true;
        }
    }
    return false;
}

bool lint_method(std::string_view name, Method &method, HttpFault &fault)
{
    if (parse_method(name, method)) {
        return true;
    }
    if (!is_token(name)) {
        return fail(fault, 400, "L2", "The method is not a token.");
    }
    if (name == "CONNECT" || name == "PRI") {
        return fail(fault, 400, "L9", "CONNECT and HTTP/2 are not supported.");
    }
    return fail(fault, 501, "L9", "The method is not known.");
}

bool lint_version(std::string_view version, int &minor, HttpFault &fault)
{
    if (version == "HTTP/1.1" || version == "HTTP/1.0") {
        minor = version.back() - '0';
        return true;
    }
    const bool other = version.size() == 8 && starts_with(version, "HTTP/") &&
                       version[5] >= '0' && version[5] <= '9' &&
                       version[6] == '.' && version[7] >= '0' &&
                       version[7] <= '9';
    if (other) {
        return fail(fault, 505, "L2", "Only HTTP/1.1 and HTTP/1.0 are spoken.");
    }
    return fail(fault, 400, "L2",
                "The request line does not end with an HTTP version.");
}

bool check_target_size(std::string_view target, const LintLimits &limits,
                       HttpFault &fault)
{
    return target.size() <= limits.max_target ||
           fail(fault, 414, "L4", "The request target is too long.");
}

bool check_target_bytes(std::string_view target, HttpFault &fault)
{
    return (!target.empty() && all_chars(target, kTargetChar)) ||
           fail(fault, 400, "L2",
                "The target is empty or holds a byte that is not allowed.");
}

// The part of an absolute-form target behind its authority. The authority
// decides nothing: Host does not either.
bool take_authority(std::string_view target, std::string_view &path,
                    HttpFault &fault)
{
    const size_t mark = target.find("://");
    const std::string_view scheme =
        mark == std::string_view::npos ? "" : target.substr(0, mark);
    if (!iequals(scheme, "http") && !iequals(scheme, "https")) {
        return fail(fault, 400, "L9",
                    "The target is neither a path nor an http URL.");
    }
    const std::string_view rest = target.substr(mark + 3);
    const size_t end = rest.find_first_of("/?");
    if (!valid_host_port(rest.substr(0, end))) {
        return fail(fault, 400, "L9",
                    "The target's authority is not host[:port].");
    }
    path = end == std::string_view::npos ? "" : rest.substr(end);
    return true;
}

bool take_target(RequestHead &head, HttpFault &fault)
{
    std::string_view rest = head.target;
    if (rest == "*") {
        if (head.method != Method::Options) {
            return fail(fault, 400, "L9", "The target * is for OPTIONS only.");
        }
    } else if (rest.front() != '/' &&
               !take_authority(head.target, rest, fault)) {
        return false;
    }
    const size_t mark = rest.find('?');
    head.path = rest.substr(0, mark);
    if (head.path.empty()) {
        head.path = "/";
    }
    head.query = mark == std::string_view::npos ? "" : rest.substr(mark + 1);
    return true;
}

bool lint_request_line(std::string_view line, const LintLimits &limits,
                       RequestHead &head, HttpFault &fault)
{
    const size_t first = line.find(' ');
    const size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) {
        return fail(fault, 400, "L2",
                    "The request line is not METHOD TARGET HTTP/1.1.");
    }
    head.target = line.substr(first + 1, last - first - 1);
    if (!check_target_size(head.target, limits, fault)) {
        return false;
    }
    Method method = Method::Get;
    const bool known = lint_method(line.substr(0, first), method, fault);
    head.method = method;
    if (!known && fault.status == 400) {
        return false;
    }
    // A line that is no HTTP/1 at all is that, whatever its method.
    HttpFault later;
    if (!lint_version(line.substr(last + 1), head.minor_version, later) ||
        !check_target_bytes(head.target, later) || !take_target(head, later)) {
        fault = later;
        return false;
    }
    return known;
}

// What has been seen of the fields that may come once only.
struct Seen {
    bool host = false;
    bool authorization = false;
    bool transfer_encoding = false;
    bool close = false;
    bool keep_alive = false;
};

bool lint_host(std::string_view value, Seen &seen, HttpFault &fault)
{
    if (seen.host) {
        return fail(fault, 400, "L5", "There is more than one Host field.");
    }
    seen.host = true;
    if (!value.empty() && !valid_host_port(value)) {
        return fail(fault, 400, "L5", "The Host field is not host[:port].");
    }
    return true;
}

bool lint_content_length(std::string_view value, RequestHead &head,
                         HttpFault &fault)
{
    if (head.has_length) {
        return fail(fault, 400, "L7",
                    "There is more than one Content-Length field.");
    }
    head.has_length = true;
    if (value.size() > 19 || !parse_u64(value, head.content_length)) {
        return fail(fault, 400, "L7",
                    "Content-Length is not a number of at most 19 digits.");
    }
    return true;
}

bool lint_transfer_encoding(std::string_view value, RequestHead &head,
                            Seen &seen, HttpFault &fault)
{
    if (seen.transfer_encoding) {
        return fail(fault, 400, "L6",
                    "There is more than one Transfer-Encoding field.");
    }
    seen.transfer_encoding = true;
    head.chunked = iequals(value, "chunked");
    if (head.chunked) {
        return true;
    }
    // The name of a coding that we do not know is 501 (RFC 9112 6.1), a value
    // that is no name is a malformed field.
    if (is_token(value) && !iequals(value, "identity")) {
        return fail(fault, 501, "L6",
                    "The only transfer coding that is supported is chunked.");
    }
    return fail(fault, 400, "L6", "Transfer-Encoding is not chunked.");
}

// The fields that the rules know. Told apart by length first: most fields of
// a request are none of them.
bool lint_known_field(const Field &field, RequestHead &head, Seen &seen,
                      HttpFault &fault)
{
    switch (field.name.size()) {
    case 4:
        return !iequals(field.name, "Host") ||
               lint_host(field.value, seen, fault);
    case 6:
        if (iequals(field.name, "Expect") &&
            iequals(field.value, "100-continue")) {
            head.expect_continue = head.minor_version == 1;
        }
        return true;
    case 10:
        if (iequals(field.name, "Connection")) {
            seen.close = seen.close || list_contains(field.value, "close");
            seen.keep_alive =
                seen.keep_alive || list_contains(field.value, "keep-alive");
        }
        return true;
    case 13:
        if (iequals(field.name, "Authorization")) {
            if (seen.authorization) {
                return fail(fault, 400, "L11",
                            "There is more than one Authorization field.");
            }
            seen.authorization = true;
        }
        return true;
    case 14:
        return !iequals(field.name, "Content-Length") ||
               lint_content_length(field.value, head, fault);
    case 17:
        return !iequals(field.name, "Transfer-Encoding") ||
               lint_transfer_encoding(field.value, head, seen, fault);
    default:
        return true;
    }
}

// `name_classes` is common_classes() of the name.
bool lint_field_line(std::string_view line, const LintLimits &limits,
                     Field &field, uint8_t &name_classes, HttpFault &fault)
{
    if (line.size() > limits.max_line) {
        return fail(fault, 431, "L4", "A header field is too long.");
    }
    const size_t colon = std::min(line.find(':'), line.size());
    name_classes = common_classes(line.substr(0, colon));
    if (colon == 0 || colon == line.size() ||
        (name_classes & kTokenChar) == 0) {
        return fail(fault, 400, "L3",
                    "A header line does not begin with a name and a colon.");
    }
    const std::string_view value = line.substr(colon + 1);
    if (!is_field_value(value)) {
        return fail(fault, 400, "L3",
                    "A header field holds a byte that is not allowed.");
    }
    field.name = line.substr(0, colon);
    field.value = trim(value);
    return true;
}

bool lint_fields(std::string_view block, const LintLimits &limits,
                 RequestHead &head, Seen &seen, HttpFault &fault)
{
    size_t count = 0;
    for (;;) {
        std::string_view line;
        if (!take_line(block, line, fault)) {
            return false;
        }
        if (line.empty()) {
            break;
        }
        if (++count > limits.max_fields) {
            return fail(fault, 431, "L4", "There are too many header fields.");
        }
        Field field;
        uint8_t name_classes = 0;
        if (!lint_field_line(line, limits, field, name_classes, fault) ||
            !lint_known_field(field, head, seen, fault)) {
            return false;
        }
        // L8: many servers read X_Y as X-Y, so such a name could pass for
        // one that we check.
        if ((name_classes & kNoUnderscore) != 0) {
            head.fields.push_back(field);
        }
    }
    if (!block.empty()) {
        return fail(fault, 400, "L1", "The header block ends too early.");
    }
    return true;
}

} // namespace

bool lint_head(std::string_view block, const LintLimits &limits,
               RequestHead &head, HttpFault &fault)
{
    // Cleared rather than made anew: the fields keep their memory.
    std::vector<Field> fields = std::move(head.fields);
    fields.clear();
    head = RequestHead();
    head.fields = std::move(fields);

    if (block.size() > limits.max_block) {
        return fail(fault, 431, "L4", "The header block is too large.");
    }
    std::string_view line;
    Seen seen;
    if (!take_line(block, line, fault) ||
        !lint_request_line(line, limits, head, fault) ||
        !lint_fields(block, limits, head, seen, fault)) {
        return false;
    }
    if (!seen.host && head.minor_version == 1) {
        return fail(fault, 400, "L5", "The Host field is missing.");
    }
    if (seen.transfer_encoding && head.has_length) {
        return fail(fault, 400, "L6",
                    "There are both Transfer-Encoding and Content-Length.");
    }
    if (seen.transfer_encoding && head.minor_version == 0) {
        return fail(fault, 400, "L6", "HTTP/1.0 has no Transfer-Encoding.");
    }
    head.keep_alive =
        !seen.close && (head.minor_version == 1 || seen.keep_alive);
    return true;
}

bool lint_target(std::string_view target, const LintLimits &limits,
                 HttpFault &fault)
{
    return check_target_size(target, limits, fault) &&
           check_target_bytes(target, fault);
}

bool lint_trailers(std::string_view block, const LintLimits &limits,
                   HttpFault &fault)
{
    size_t count = 0;
    for (;;) {
        std::string_view line;
        if (!take_line(block, line, fault)) {
            return false;
        }
        if (line.empty()) {
            return true;
        }
        if (++count > limits.max_fields) {
            return fail(fault, 431, "L4", "There are too many trailers.");
        }
        Field field;
        uint8_t name_classes = 0;
        if (!lint_field_line(line, limits, field, name_classes, fault)) {
            return false;
        }
        if (iequals(field.name, "content-length") ||
            iequals(field.name, "transfer-encoding")) {
            return fail(fault, 400, "L6", "A trailer cannot frame the body.");
        }
    }
}

} // namespace llmproxy
