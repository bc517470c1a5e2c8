// The judge in front of the HTTP parser: a header block that passes here means
// the same to every recipient that follows RFC 9112.
#include "llm_proxy/http/header_lint.h"

#include "llm_proxy/base/strings.h"

#include <cstring>
#include <utility>
#include <vector>

#include "chars.h"

namespace llmproxy
{

namespace
{

bool is_host(std::string_view text)
{
    for (const char c : text) {
        const bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z');
        if (!alnum && c != '.' && c != '-' && c != '_' && c != '~') {
            return false;
        }
    }
    return true;
}

bool refuse(HttpFault &fault, int status, const char *rule, const char *message)
{
    fault.status = status;
    fault.rule = rule;
    fault.message = message;
    return false;
}

bool valid_port(std::string_view port)
{
    uint64_t value = 0;
    return port.size() <= 5 && parse_u64(port, value) && value <= 65535;
}

// host[:port], host may be empty (RFC 9110 7.2 allows an empty Host).
bool valid_authority(std::string_view text)
{
    if (text.size() > 255) {
        return false;
    }
    size_t host_end = text.find(':');
    if (starts_with(text, "[")) {
        const size_t close = text.find(']');
        if (close == std::string_view::npos) {
            return false;
        }
        for (const char c : text.substr(1, close - 1)) {
            const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
                             (c >= 'A' && c <= 'F');
            if (!hex && c != ':' && c != '.') {
                return false;
            }
        }
        if (close + 1 < text.size() && text[close + 1] != ':') {
            return false;
        }
        host_end = close + 1 < text.size() ? close + 1 : std::string_view::npos;
    } else if (!is_host(text.substr(0, host_end))) {
        return false;
    }
    return host_end == std::string_view::npos || host_end + 1 == text.size() ||
           valid_port(text.substr(host_end + 1));
}

bool find_method(std::string_view text, Method &out)
{
    static const Method methods[] = {
        Method::Get,    Method::Head,    Method::Post,  Method::Put,
        Method::Delete, Method::Options, Method::Patch, Method::Trace};
    for (const Method method : methods) {
        if (text == method_name(method)) {
            out = method;
            return true;
        }
    }
    return false;
}

bool lint_target(RequestHead &head, HttpFault &fault)
{
    std::string_view rest = head.target;
    if (rest == "*") {
        if (head.method != Method::Options) {
            return refuse(fault, 400, "target",
                          "The target '*' is only for OPTIONS.");
        }
        head.path = rest;
        return true;
    }
    if (rest.front() != '/') {
        // Absolute-form: understood, but its authority decides nothing.
        const size_t scheme = rest.find("://");
        if (scheme == std::string_view::npos ||
            (!iequals(rest.substr(0, scheme), "http") &&
             !iequals(rest.substr(0, scheme), "https"))) {
            return refuse(fault, 400, "target",
                          "The request target must begin with '/'.");
        }
        rest.remove_prefix(scheme + 3);
        const std::string_view authority =
            rest.substr(0, rest.find_first_of("/?"));
        if (authority.empty() || !valid_authority(authority)) {
            return refuse(fault, 400, "target",
                          "The request target's authority is not valid.");
        }
        rest.remove_prefix(authority.size());
    }
    const size_t question = rest.find('?');
    head.path = rest.substr(0, question);
    if (head.path.empty()) {
        head.path = "/";
    }
    if (question != std::string_view::npos) {
        head.query = rest.substr(question + 1);
    }
    return true;
}

bool lint_request_line(std::string_view line, const LintLimits &limits,
                       RequestHead &head, HttpFault &fault)
{
    const size_t first = line.find(' ');
    const size_t second =
        first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (second == std::string_view::npos ||
        line.find(' ', second + 1) != std::string_view::npos || first == 0 ||
        second == first + 1) {
        return refuse(fault, 400, "request-line",
                      "The request line is not 'METHOD target HTTP/1.1'.");
    }
    const std::string_view method = line.substr(0, first);
    const std::string_view version = line.substr(second + 1);
    head.target = line.substr(first + 1, second - first - 1);
    if (!is_token(method)) {
        return refuse(fault, 400, "method", "The method is not a token.");
    }
    if (!all_chars(head.target, kTargetChar)) {
        return refuse(fault, 400, "target",
                      "The request target has bytes that a URL cannot have.");
    }
    if (head.target.size() > limits.max_target) {
        return refuse(fault, 414, "target-length", "The URL is too long.");
    }
    const bool shape = version.size() == 8 && starts_with(version, "HTTP/") &&
                       version[5] >= '0' && version[5] <= '9' &&
                       version[6] == '.' && version[7] >= '0' &&
                       version[7] <= '9';
    if (!shape) {
        return refuse(fault, 400, "version",
                      "The request line does not end in 'HTTP/1.1'.");
    }
    if (version[5] != '1' || version[7] > '1') {
        return refuse(fault, 505, "version",
                      "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    }
    head.minor_version = version[7] - '0';
    if (!find_method(method, head.method)) {
        if (method == "CONNECT" || method == "PRI") {
            return refuse(fault, 400, "method",
                          "This method is not for an origin server.");
        }
        return refuse(fault, 501, "method", "The method is not known.");
    }
    return lint_target(head, fault);
}

// What the fields that decide about framing and identity add up to.
struct Framing {
    bool host = false;
    bool authorization = false;
    bool transfer_encoding = false;
    bool close = false;
    bool keep_alive = false;
};

bool lint_length(std::string_view value, RequestHead &head, HttpFault &fault)
{
    if (head.has_length) {
        return refuse(fault, 400, "content-length",
                      "There is more than one Content-Length.");
    }
    if (value.size() > 19 || !parse_u64(value, head.content_length)) {
        return refuse(fault, 400, "content-length",
                      "Content-Length is not a number of bytes.");
    }
    head.has_length = true;
    return true;
}

bool lint_coding(std::string_view value, Framing &framing, RequestHead &head,
                 HttpFault &fault)
{
    if (framing.transfer_encoding) {
        return refuse(fault, 400, "transfer-encoding",
                      "There is more than one Transfer-Encoding.");
    }
    framing.transfer_encoding = true;
    head.chunked = iequals(value, "chunked");
    if (!head.chunked) {
        const bool one_coding = is_token(value);
        return refuse(fault, one_coding ? 501 : 400, "transfer-encoding",
                      "The only transfer coding that is supported is "
                      "'chunked', once.");
    }
    return true;
}

bool lint_host(std::string_view value, Framing &framing, HttpFault &fault)
{
    if (framing.host) {
        return refuse(fault, 400, "host", "There is more than one Host.");
    }
    framing.host = true;
    if (!valid_authority(value)) {
        return refuse(fault, 400, "host", "Host is not 'name[:port]'.");
    }
    return true;
}

bool lint_known_field(const Field &field, Framing &framing, RequestHead &head,
                      HttpFault &fault)
{
    // The lengths keep most fields from any comparison.
    switch (field.name.size()) {
    case 4:
        return !iequals(field.name, "Host") ||
               lint_host(field.value, framing, fault);
    case 6:
        if (iequals(field.name, "Expect")) {
            head.expect_continue = iequals(field.value, "100-continue");
        }
        return true;
    case 10:
        if (iequals(field.name, "Connection")) {
            framing.close =
                framing.close || list_contains(field.value, "close");
            framing.keep_alive =
                framing.keep_alive || list_contains(field.value, "keep-alive");
        }
        return true;
    case 13:
        if (iequals(field.name, "Authorization")) {
            if (framing.authorization) {
                return refuse(fault, 400, "authorization",
                              "There is more than one Authorization.");
            }
            framing.authorization = true;
        }
        return true;
    case 14:
        return !iequals(field.name, "Content-Length") ||
               lint_length(field.value, head, fault);
    case 17:
        return !iequals(field.name, "Transfer-Encoding") ||
               lint_coding(field.value, framing, head, fault);
    default:
        return true;
    }
}

bool lint_field(std::string_view line, Framing &framing, RequestHead &head,
                HttpFault &fault)
{
    const size_t colon = line.find(':');
    Field field;
    field.name = line.substr(0, colon);
    if (colon == std::string_view::npos || !is_token(field.name)) {
        return refuse(fault, 400, "field-name",
                      "A header line is not 'name: value'.");
    }
    if (!is_field_value(line.substr(colon + 1))) {
        return refuse(fault, 400, "field-value",
                      "A header value has control bytes.");
    }
    field.value = trim(line.substr(colon + 1));
    // Some servers read A_B as A-B; one that does behind us must not see it.
    if (field.name.find('_') != std::string_view::npos) {
        return true;
    }
    if (!lint_known_field(field, framing, head, fault)) {
        return false;
    }
    head.fields.push_back(field);
    return true;
}

bool lint_whole(const Framing &framing, RequestHead &head, HttpFault &fault)
{
    if (head.minor_version > 0 && !framing.host) {
        return refuse(fault, 400, "host", "HTTP/1.1 requests need a Host.");
    }
    if (framing.transfer_encoding && head.has_length) {
        return refuse(fault, 400, "framing",
                      "Transfer-Encoding and Content-Length exclude each "
                      "other.");
    }
    if (framing.transfer_encoding && head.minor_version == 0) {
        return refuse(fault, 400, "framing",
                      "HTTP/1.0 has no Transfer-Encoding.");
    }
    head.keep_alive =
        !framing.close && (head.minor_version > 0 || framing.keep_alive);
    head.expect_continue = head.expect_continue && head.minor_version > 0;
    return true;
}

} // namespace

bool lint_head(std::string_view block, const LintLimits &limits,
               RequestHead &head, HttpFault &fault)
{
    std::vector<Field> fields = std::move(head.fields); // keeps its memory
    fields.clear();
    head = RequestHead();
    head.fields = std::move(fields);
    if (block.size() > limits.max_block) {
        return refuse(fault, 431, "block-length",
                      "The request's header fields are too large.");
    }
    Framing framing;
    size_t lines = 0;
    while (!block.empty()) {
        const size_t end = block.find('\n');
        if (end == std::string_view::npos || end == 0 ||
            block[end - 1] != '\r' ||
            memchr(block.data(), '\r', end - 1) != nullptr) {
            return refuse(fault, 400, "line-end",
                          "A header line does not end in CR LF.");
        }
        const std::string_view line = block.substr(0, end - 1);
        block.remove_prefix(end + 1);
        if (lines++ == 0) {
            if (!lint_request_line(line, limits, head, fault)) {
                return false;
            }
            continue;
        }
        if (line.empty()) {
            break; // the end of the block, which has nothing behind it
        }
        if (line.size() > limits.max_line || lines > limits.max_fields + 1) {
            return refuse(fault, 431, "fields",
                          "The request's header fields are too large.");
        }
        if (!lint_field(line, framing, head, fault)) {
            return false;
        }
    }
    return lint_whole(framing, head, fault);
}

} // namespace llmproxy
