// The text of the state file: day counters that outlive the process.

#include "llm_proxy/limit/day_counters.h"

#include "llm_proxy/base/strings.h"

#include <algorithm>
#include <utility>

namespace llmproxy
{

namespace
{

constexpr std::string_view kHead = "llm-proxyd day counters 1";
constexpr std::string_view kCheck = "sha256 ";
constexpr uint64_t kMaxDay = 10'000'000; // far in the future

// "DIGEST DAY USED"
bool parse_counter(std::string_view line, DayCounter &out)
{
    const std::vector<std::string_view> words = split_list(line, ' ');
    uint64_t day = 0;
    if (words.size() != 3 || !parse_hex(words[0], out.digest) ||
        !parse_u64(words[1], day) || day > kMaxDay ||
        !parse_u64(words[2], out.used)) {
        return false;
    }
    out.day = static_cast<int64_t>(day);
    return true;
}

bool fail(Error &err, uint64_t line, const char *what)
{
    err.message = "line ";
    append_u64(err.message, line);
    err.message += ": ";
    err.message += what;
    return false;
}

} // namespace

std::string format_day_counters(const std::vector<DayCounter> &counters)
{
    std::string out(kHead);
    out += '\n';
    for (const DayCounter &counter : counters) {
        out += hex(counter.digest);
        out += ' ';
        append_u64(out, static_cast<uint64_t>(counter.day));
        out += ' ';
        append_u64(out, counter.used);
        out += '\n';
    }
    const std::string check = hex(sha256(out));
    out.append(kCheck);
    out += check;
    out += '\n';
    return out;
}

bool parse_day_counters(std::string_view text, std::vector<DayCounter> &out,
                        Error &err)
{
    std::vector<DayCounter> counters;
    uint64_t number = 0;
    size_t at = 0;
    while (at < text.size()) {
        const size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view line = text.substr(at, end - at);
        number++;
        if (number == 1 && line != kHead) {
            return fail(err, number, "not a state file of this version");
        }
        if (starts_with(line, kCheck)) {
            Sha256 check{};
            if (!parse_hex(line.substr(kCheck.size()), check) ||
                check != sha256(text.substr(0, at))) {
                return fail(err, number, "the checksum is wrong");
            }
            if (end + 1 != text.size()) {
                return fail(err, number, "does not end the file");
            }
            out = std::move(counters);
            return true;
        }
        DayCounter counter;
        if (number > 1 && !parse_counter(line, counter)) {
            return fail(err, number, "not a counter");
        }
        if (number > 1) {
            counters.push_back(counter);
        }
        at = end + 1;
    }
    return fail(err, number + 1, "the checksum is missing");
}

} // namespace llmproxy
