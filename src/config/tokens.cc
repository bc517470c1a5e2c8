// Reads the token list and answers who a presented token stands for. Tokens
// are kept as SHA-256 only; their text is overwritten as soon as it is
// hashed, and no message ever holds one.

#include "llm_proxy/config/tokens.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/config/settings.h"
#include "llm_proxy/json/value.h"

#include <algorithm>
#include <cstring>

namespace llmproxy
{

namespace
{

constexpr size_t kMinToken = 8;
constexpr size_t kMaxLabel = 64;
constexpr size_t kMaxMember = 24;

bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           (c >= 'a' && c <= 'z');
}

// Letters, digits and `others` only.
bool consists_of(std::string_view text, std::string_view others)
{
    for (const char c : text) {
        if (!is_alnum(c) && others.find(c) == std::string_view::npos) {
            return false;
        }
    }
    return true;
}

// Takes `digits` decimal digits and then `separator` (0 = none) off the
// front of `text`.
[[nodiscard]] bool take_number(std::string_view &text, size_t digits,
                               char separator, int64_t low, int64_t high,
                               int64_t &out)
{
    uint64_t number = 0;
    if (!parse_u64(text.substr(0, digits), number) || text.size() < digits) {
        return false;
    }
    text.remove_prefix(digits);
    if (separator != 0) {
        if (text.empty() || text.front() != separator) {
            return false;
        }
        text.remove_prefix(1);
    }
    out = static_cast<int64_t>(number);
    return out >= low && out <= high;
}

// Days from 1970-01-01 to a date of the Gregorian calendar, for years from
// 1970 on; false if there is no such day.
[[nodiscard]] bool days_since_epoch(int64_t year, int64_t month, int64_t day,
                                    int64_t &out)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30,
                                  31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    out = (year - 1970) * 365 + (year - 1969) / 4 - (year - 1901) / 100 +
          (year - 1601) / 400;
    for (int64_t m = 1; m < month; m++) {
        out += lengths[m - 1] + (m == 2 && leap ? 1 : 0);
    }
    out += day - 1;
    return day <= lengths[month - 1] + (month == 2 && leap ? 1 : 0);
}

// "+02:00", "-05:30" or "Z" as seconds east of UTC, all of `text`.
[[nodiscard]] bool parse_zone(std::string_view text, int64_t &out)
{
    if (iequals(text, "Z")) {
        out = 0;
        return true;
    }
    const bool west = starts_with(text, "-");
    int64_t hours = 0;
    int64_t minutes = 0;
    if (!west && !starts_with(text, "+")) {
        return false;
    }
    text.remove_prefix(1);
    if (!take_number(text, 2, ':', 0, 23, hours) ||
        !take_number(text, 2, 0, 0, 59, minutes) || !text.empty()) {
        return false;
    }
    out = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return true;
}

// A date (its first moment in UTC) or an RFC 3339 time, as Unix seconds. A
// fraction of a second is dropped.
[[nodiscard]] bool parse_timestamp(std::string_view text, int64_t &out)
{
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    int64_t days = 0;
    if (!take_number(text, 4, '-', 1970, 9999, year) ||
        !take_number(text, 2, '-', 1, 12, month) ||
        !take_number(text, 2, 0, 1, 31, day) ||
        !days_since_epoch(year, month, day, days)) {
        return false;
    }
    int64_t hour = 0;
    int64_t minute = 0;
    int64_t second = 0;
    int64_t zone = 0;
    if (!text.empty()) {
        if (text.front() != 'T' && text.front() != 't' && text.front() != ' ') {
            return false;
        }
        text.remove_prefix(1);
        if (!take_number(text, 2, ':', 0, 23, hour) ||
            !take_number(text, 2, ':', 0, 59, minute) ||
            !take_number(text, 2, 0, 0, 60, second)) {
            return false;
        }
        if (starts_with(text, ".")) {
            const size_t end = text.find_first_not_of("0123456789", 1);
            if (end == 1 || end == std::string_view::npos) {
                return false;
            }
            text.remove_prefix(end);
        }
        if (!parse_zone(text, zone)) {
            return false;
        }
    }
    out = days * 86400 + hour * 3600 + minute * 60 + second - zone;
    return true;
}

// The line on which each element of the array begins. The text is known to
// be valid JSON, so strings and depth are all there is to track.
std::vector<size_t> element_lines(std::string_view text)
{
    std::vector<size_t> lines;
    size_t line = 1;
    int depth = 0;
    bool in_string = false;
    bool expected = false; // the next byte that is no blank begins an element
    for (size_t i = 0; i < text.size(); i++) {
        const char c = text[i];
        if (c == '\n') {
            line++;
        }
        if (in_string) {
            i += c == '\\' ? 1 : 0;
            in_string = c != '"';
            continue;
        }
        if (expected && c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            lines.push_back(line);
            expected = false;
        }
        if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            depth++;
            expected = depth == 1;
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',' && depth == 1) {
            expected = true;
        }
    }
    return lines;
}

// Reads one element of the list into a Principal and says what is wrong.
class TokenReader
{
public:
    // Both outlive the reader; `where` is complete with its line.
    TokenReader(json_t *object, size_t number, const std::string &where,
                std::vector<Problem> &problems)
        : object_(object), number_(number), where_(where), problems_(problems)
    {
    }

    void read(TokenTable &out);

private:
    void complain(std::string_view message);
    void complain_type(const char *key, const char *wanted,
                       const json_t *value);
    void read_members();
    void read_label();
    void read_secret();
    void read_digest(std::string_view digits);
    void hash_token(json_t *value);
    uint64_t read_limit(const char *key);
    void read_models();
    void read_disabled();
    void read_expires();

    json_t *object_;
    size_t number_;
    const std::string &where_;
    std::vector<Problem> &problems_;
    Principal principal_;
    bool has_digest_ = false;
};

void TokenReader::complain(std::string_view message)
{
    std::string text = "token ";
    append_u64(text, number_);
    if (!principal_.label.empty()) {
        text += " (\"" + principal_.label + "\")";
    }
    text += ": ";
    text += message;
    problems_.push_back({where_, text});
}

void TokenReader::complain_type(const char *key, const char *wanted,
                                const json_t *value)
{
    complain(std::string(key) + " must be " + wanted + ", not " +
             json::type_name(value));
}

void TokenReader::read(TokenTable &out)
{
    if (strcmp(json::type_name(object_), "an object") != 0) {
        complain(std::string("must be an object, not ") +
                 json::type_name(object_));
        return;
    }
    read_label();
    read_secret();
    read_members();
    principal_.rpm = read_limit("rpm");
    principal_.rpd = read_limit("rpd");
    principal_.concurrency = read_limit("concurrency");
    read_models();
    read_disabled();
    read_expires();
    if (principal_.label.empty() || !has_digest_) {
        return;
    }
    std::string why;
    if (!out.add(principal_, why)) {
        complain(why);
    }
}

void TokenReader::read_members()
{
    static const std::vector<std::string_view> known = {
        "token",  "token_sha256", "label",    "rpm",    "rpd",
        "models", "concurrency",  "disabled", "expires"};
    for (const std::string_view key : json::keys(object_)) {
        if (std::find(known.begin(), known.end(), key) != known.end()) {
            continue;
        }
        // A key that does not look like a member's name may be a token.
        std::string message = "unknown member";
        if (key.size() <= kMaxMember &&
            key.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") ==
                std::string_view::npos) {
            message += " \"" + std::string(key) + '"';
        }
        const std::string_view nearest = nearest_name(key, known);
        if (!nearest.empty()) {
            message += "; did you mean \"" + std::string(nearest) + "\"?";
        }
        complain(message);
    }
}

void TokenReader::read_label()
{
    const json_t *value = json::get(object_, "label");
    std::string_view label;
    if (value == nullptr) {
        complain("a label is missing (the name that logs show)");
    } else if (!json::get_string(object_, "label", label)) {
        complain_type("label", "a string", value);
    } else if (label.empty() || label.size() > kMaxLabel ||
               !consists_of(label, "._@-")) {
        complain("label must be 1 to 64 characters of A-Z a-z 0-9 . _ @ -");
    } else {
        principal_.label = label;
    }
}

void TokenReader::read_secret()
{
    json_t *token = json::get(object_, "token");
    const json_t *digest = json::get(object_, "token_sha256");
    if ((token == nullptr) == (digest == nullptr)) {
        complain("exactly one of \"token\" and \"token_sha256\" is needed");
        json::wipe_string(token);
        return;
    }
    std::string_view digits;
    if (token != nullptr) {
        hash_token(token);
    } else if (!json::get_string(object_, "token_sha256", digits) ||
               !parse_hex(digits, principal_.digest)) {
        complain("token_sha256 must be a string of 64 hex digits");
    } else {
        has_digest_ = true;
    }
}

void TokenReader::hash_token(json_t *value)
{
    std::string_view token;
    if (!json::get_string(object_, "token", token)) {
        complain_type("token", "a string", value);
        return;
    }
    std::string why;
    if (!check_token(token, why)) {
        complain(why);
    } else {
        principal_.digest = sha256(token);
        has_digest_ = true;
    }
    json::wipe_string(value);
}

uint64_t TokenReader::read_limit(const char *key)
{
    const json_t *value = json::get(object_, key);
    int64_t number = 0;
    if (value == nullptr) {
        return 0;
    }
    if (!json::get_int(object_, key, number)) {
        complain_type(key, "a whole number", value);
        return 0;
    }
    if (number < 1) {
        complain(std::string(key) +
                 " must be at least 1 (leave it out for no limit)");
        return 0;
    }
    return static_cast<uint64_t>(number);
}

void TokenReader::read_models()
{
    const json_t *value = json::get(object_, "models");
    if (value == nullptr) {
        return;
    }
    if (strcmp(json::type_name(value), "an array") != 0) {
        complain_type("models", "an array of patterns", value);
        return;
    }
    for (const json_t *element : json::elements(value)) {
        const std::string_view pattern = json::string_of(element);
        if (pattern.empty()) {
            complain("models must hold only patterns, strings of at least "
                     "one character");
            return;
        }
        principal_.models.emplace_back(pattern);
    }
    if (principal_.models.empty()) {
        complain("models must hold at least one pattern (leave it out to "
                 "allow every model)");
    }
}

void TokenReader::read_disabled()
{
    const json_t *value = json::get(object_, "disabled");
    if (value != nullptr &&
        !json::get_bool(object_, "disabled", principal_.disabled)) {
        complain_type("disabled", "true or false", value);
    }
}

void TokenReader::read_expires()
{
    const json_t *value = json::get(object_, "expires");
    if (value == nullptr) {
        return;
    }
    std::string_view text;
    int64_t seconds = 0;
    const bool read = json::get_int(object_, "expires", seconds) ||
                      (json::get_string(object_, "expires", text) &&
                       parse_timestamp(text, seconds));
    constexpr int64_t end_of_9999 = 253402300799;
    if (!read || seconds <= 0 || seconds > end_of_9999) {
        complain("expires must be a date (2027-01-31, its first moment in "
                 "UTC), a time (2027-01-31T12:00:00Z) or Unix seconds");
        return;
    }
    principal_.expires_s = seconds;
}

} // namespace

bool check_token(std::string_view token, std::string &why)
{
    if (token.size() < kMinToken) {
        why = "token must be at least 8 characters long";
        return false;
    }
    if (!consists_of(token, "-._~+/=")) {
        why = "token may hold only A-Z a-z 0-9 - . _ ~ + / = (RFC 6750)";
        return false;
    }
    return true;
}

size_t DigestHash::operator()(const Sha256 &digest) const
{
    size_t hash = 0;
    memcpy(&hash, digest.data(), sizeof hash);
    return hash;
}

const Principal *TokenTable::find(std::string_view presented) const
{
    const auto at = by_digest_.find(sha256(presented));
    return at == by_digest_.end() ? nullptr : &principals_[at->second];
}

bool TokenTable::add(Principal principal, std::string &why)
{
    const auto same = by_digest_.find(principal.digest);
    if (same != by_digest_.end()) {
        why = "the same token as \"" + principals_[same->second].label + '"';
        return false;
    }
    if (!labels_.insert(principal.label).second) {
        why = "an earlier token has the same label";
        return false;
    }
    by_digest_.emplace(principal.digest, principals_.size());
    principals_.push_back(std::move(principal));
    return true;
}

void parse_tokens(std::string &json_text, const std::string &where,
                  bool where_is_file, TokenTable &out,
                  std::vector<Problem> &problems)
{
    const auto place = [&](size_t line) {
        std::string text = where;
        if (where_is_file) {
            text += ':';
            append_u64(text, line);
        }
        return text;
    };
    json::Ptr root;
    Error err;
    size_t line = 1;
    if (!json::parse(json_text, root, err, &line)) {
        std::string why = "not valid JSON: " + err.message;
        const char first = json_text.empty() ? '\0' : json_text[0];
        if (!where_is_file && (first == '\'' || first == '"')) {
            why += " (quotes around a value are part of it: take them off)";
        }
        problems.push_back({place(line), why});
    } else if (strcmp(json::type_name(root.get()), "an array") != 0) {
        problems.push_back({place(1),
                            "the tokens must be an array: [{\"token\": ..., "
                            "\"label\": ...}, ...]"});
    } else {
        const std::vector<json_t *> tokens = json::elements(root.get());
        const std::vector<size_t> lines = element_lines(json_text);
        if (tokens.empty()) {
            problems.push_back({place(1), "the list holds no token"});
        }
        for (size_t i = 0; i < tokens.size(); i++) {
            const std::string at = place(lines[i]);
            TokenReader(tokens[i], i + 1, at, problems).read(out);
        }
    }
    wipe(json_text);
}

} // namespace llmproxy
