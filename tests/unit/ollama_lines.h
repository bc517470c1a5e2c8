#ifndef LLM_PROXY_TESTS_UNIT_OLLAMA_LINES_H
#define LLM_PROXY_TESTS_UNIT_OLLAMA_LINES_H

#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../../src/adapt/ollama_line.h"

// Lines of Ollama's made at random, from a seed: the usual ones with good and
// bad text in them, and the same said in other ways.
namespace llmproxy
{

// A member's name and value as they stand in the text, the name unquoted.
struct Member {
    std::string name;
    std::string value;
};
using Members = std::vector<Member>;

// What one line holds. A chat has `message`, /api/generate has none.
struct Line {
    Members members;
    Members message; // the value of the member that is called so
};

class Random
{
public:
    explicit Random(uint32_t seed) : engine_(seed) {}
    size_t below(size_t count) { return engine_() % count; }
    bool once_in(size_t count) { return below(count) == 0; }
    template <typename T, size_t N>
    const T &of(const T (&list)[N])
    {
        return list[below(N)];
    }
    template <typename T>
    void shuffle(std::vector<T> &list)
    {
        for (size_t i = list.size(); i > 1; i--) {
            std::swap(list[i - 1], list[below(i)]);
        }
    }

private:
    std::mt19937 engine_; // the same numbers everywhere
};

// `blanks` decides what stands between two tokens.
template <typename Blanks>
inline std::string write(const Line &line, const Members &members,
                         Blanks &&blanks)
{
    std::string out = "{";
    for (const Member &member : members) {
        out += out.size() == 1 ? "" : ",";
        out += blanks() + '"' + member.name + '"' + blanks() + ':' + blanks();
        out += member.name == "message" ? write(line, line.message, blanks)
                                        : member.value;
        out += blanks();
    }
    return out + '}';
}

inline std::string as_usual(const Line &line)
{
    return write(line, line.members, [] { return std::string(); });
}

// What may stand inside a string.
const char *const kGoodBits[] = {
    // clang-format off
    "a", "word ", R"(\")", R"(\\)", R"(\/)", R"(\n)", R"(\b)", R"(\u003c)",
    R"(\u2028)", R"(\u0000)", R"(\u00E9)", R"(\ud83d\ude00)", "\xc3\xa9",
    "\xe2\x80\xa8", "\xe6\x97\xa5", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf",
    "\xef\xbb\xbf", "\x7f", "{", "}", "[", ",", ":", "data: x",
    // clang-format on
};

// What may not, and is no end of one either.
const char *const kBadBits[] = {
    // clang-format off
    R"(\ud83d)", R"(\ude00)", R"(\ud83dx)", R"(\ude00\ud83d)",
    R"(\ud83d\u0041)", R"(\x)", R"(\u00g0)", R"(\u12)", R"(\U0041)", "\xff",
    "\xed\xa0\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xf4\x90\x80\x80",
    "\xe6\x97", "\xf0\x9f\x98", "\x80", "\x01", "\x1f", "\t",
    // clang-format on
};

// What ends a string, well or badly.
const char *const kEnds[] = {"\"", "\\", R"(","thinking":"t)", R"(","":")"};

// The inside of a string: mostly good, or no long line would ever pass.
inline std::string any_text(Random &random)
{
    std::string out;
    const size_t size = random.below(8);
    for (size_t i = 0; i < size; i++) {
        out += random.once_in(96)   ? random.of(kEnds)
               : random.once_in(24) ? random.of(kBadBits)
                                    : random.of(kGoodBits);
    }
    return out;
}

inline std::string any_time(Random &random)
{
    static const char *const others[] = {"2026-09-01T08:31:00Z",
                                         "2026-09-01T08:31:00.123456789+02:00",
                                         R"(2026\u002d09-01T08:31:00Z)",
                                         R"(2026-09-01T08:31:00.1\u005a)",
                                         "",
                                         "yesterday",
                                         "0001-01-01T00:00:00Z",
                                         "\xff"};
    return random.once_in(4) ? random.of(others) : "2026-09-01T08:31:00.1Z";
}

inline std::string any_number(Random &random)
{
    static const char *const numbers[] = {"0",
                                          "1",
                                          "42",
                                          "-1",
                                          "-0",
                                          "01",
                                          "1.5",
                                          "1e3",
                                          "1.",
                                          "+1",
                                          ".5",
                                          "",
                                          "9007199254740993",
                                          "999999999999999999",
                                          "1000000000000000000",
                                          "9223372036854775807",
                                          "9223372036854775808",
                                          "-9223372036854775809",
                                          "18446744073709551616",
                                          "1e400",
                                          "null",
                                          "true",
                                          R"("3")",
                                          "[1,2,3]",
                                          "{}"};
    return random.once_in(2) ? std::to_string(random.below(100000))
                             : random.of(numbers);
}

inline Members any_metrics(Random &random)
{
    static const char *const names[] = {
        "total_duration",       "load_duration", "prompt_eval_count",
        "prompt_eval_duration", "eval_count",    "eval_duration"};
    static const char *const others[] = {"prompt_eval_cached_count",
                                         "context",
                                         "_duration",
                                         R"(\u0065val_duration)",
                                         R"(a\u0000_duration)",
                                         R"(\ud83d_duration)",
                                         "\xff_duration",
                                         "logprobs",
                                         "x"};
    Members out;
    for (const char *name : names) {
        if (!random.once_in(4)) {
            const char *written =
                strcmp(name, "eval_count") == 0 && random.once_in(8)
                    ? R"(eval\u005fcount)"
                    : name;
            out.push_back(
                {written, random.once_in(12)
                              ? any_number(random)
                              : std::to_string(random.below(1000000))});
        }
    }
    if (random.once_in(4)) {
        random.shuffle(out);
    }
    if (random.once_in(6)) {
        out.push_back({random.of(others), any_number(random)});
    }
    return out;
}

// A usual line around the inside of a string.
inline Line line_with(LineKind kind, const std::string &text, bool last)
{
    Line line;
    const std::string quoted = '"' + text + '"';
    line.members = {{"model", R"("m")"},
                    {"created_at", R"("2026-09-01T08:31:00.1Z")"}};
    if (kind == LineKind::Chat) {
        line.message = {{"role", R"("assistant")"}, {"content", quoted}};
        line.members.push_back({"message", ""});
    } else {
        line.members.push_back({"response", quoted});
    }
    line.members.push_back({"done", last ? "true" : "false"});
    if (last) {
        line.members.push_back({"done_reason", R"("stop")"});
    }
    return line;
}

inline Line any_line(Random &random, LineKind kind, bool last)
{
    static const char *const reasons[] = {"length",       "load", "unload", "",
                                          R"(st\u006fp)", "\xff", "other"};
    Line line = line_with(kind, any_text(random), last);
    if (random.once_in(8)) {
        line.members[0].value = '"' + any_text(random) + '"';
    }
    line.members[1].value = '"' + any_time(random) + '"';
    if (last) {
        if (random.once_in(3)) {
            line.members.back().value =
                '"' + std::string(random.of(reasons)) + '"';
        }
        const Members metrics = any_metrics(random);
        line.members.insert(line.members.end(), metrics.begin(), metrics.end());
    }
    return line;
}

// Behind the line, where Ollama never writes a blank: no column changes.
inline std::string with_blank(const std::string &line)
{
    return line + ' ';
}

inline std::string with_blanks(Random &random, const Line &line)
{
    static const char *const blanks[] = {"", "", " ", "\t", " \r ", "  "};
    return write(line, line.members,
                 [&random] { return std::string(random.of(blanks)); }) +
           ' ';
}

inline std::string in_another_order(Random &random, Line line)
{
    random.shuffle(line.members);
    random.shuffle(line.message);
    return as_usual(line) + ' ';
}

// The last of two members with one name counts.
inline std::string with_a_double(Random &random, Line line)
{
    static const char *const values[] = {R"("b")", "7", "null", "{}", "false"};
    Members &members =
        line.message.empty() || random.once_in(2) ? line.members : line.message;
    const size_t which = random.below(members.size());
    // A member that stands there twice keeps its first place in the answer of
    // none, so any place in front will do.
    const Member before = {members[which].name, random.of(values)};
    if (before.name == "message") {
        return as_usual(line) + ' ';
    }
    members.insert(members.begin() + static_cast<Members::difference_type>(
                                         random.below(which + 1)),
                   before);
    return as_usual(line) + ' ';
}

inline std::string with_a_stranger(Random &random, Line line)
{
    static const std::string values[] = {"null",
                                         R"("\ud83d\ude00 \u0000")",
                                         "9007199254740993",
                                         "18446744073709551616",
                                         "-1e308",
                                         R"([{"a":[1,2.5,""]},[]])",
                                         std::string(2000, '[') +
                                             std::string(2000, ']')};
    Members &members =
        line.message.empty() || random.once_in(2) ? line.members : line.message;
    members.insert(members.begin() + static_cast<Members::difference_type>(
                                         random.below(members.size() + 1)),
                   {"remote_model", random.of(values)});
    return as_usual(line);
}

} // namespace llmproxy

#endif
