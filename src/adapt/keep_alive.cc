// Durations as Ollama reads them.

#include "keep_alive.h"

#include "llm_proxy/base/strings.h"
#include "llm_proxy/config/settings.h"
#include "llm_proxy/json/value.h"

#include <string>
#include <string_view>

#include <jansson.h>

namespace llmproxy
{

namespace
{

constexpr struct {
    std::string_view name;
    double ms;
} kUnits[] = {
    {"ns", 1e-6}, {"us", 1e-3}, {"\xc2\xb5s", 1e-3}, {"ms", 1},
    {"s", 1e3},   {"m", 6e4},   {"h", 3.6e6},
};

// Digits with at most one dot, and then a unit; "ms" comes before "m".
bool take_part(std::string_view &text, double &ms)
{
    double number = 0;
    double scale = 1;
    size_t digits = 0;
    bool dot = false;
    for (; !text.empty() && (is_digit(text[0]) || (text[0] == '.' && !dot));
         text.remove_prefix(1)) {
        if (text[0] == '.') {
            dot = true;
            continue;
        }
        digits++;
        number = number * 10 + (text[0] - '0');
        scale *= dot ? 10 : 1;
    }
    for (const auto &unit : kUnits) {
        if (digits > 0 && starts_with(text, unit.name)) {
            text.remove_prefix(unit.name.size());
            ms += number / scale * unit.ms;
            return true;
        }
    }
    return false;
}

// Go's time.ParseDuration: [+-] then number and unit, repeated; or "0".
bool parse_go_duration(std::string_view text, double &ms)
{
    ms = 0;
    const bool negative = starts_with(text, "-");
    if (negative || starts_with(text, "+")) {
        text.remove_prefix(1);
    }
    if (text == "0") {
        return true;
    }
    do {
        if (!take_part(text, ms)) {
            return false;
        }
    } while (!text.empty());
    ms = negative ? -ms : ms;
    return true;
}

} // namespace

bool read_keep_alive(const json_t *value, int64_t &out_ms)
{
    constexpr double longest_ms = 9e15; // of what int64_t and double share
    double ms = 0;
    if (json_is_number(value)) {
        ms = json_number_value(value) * 1000;
    } else if (!parse_go_duration(json::string_of(value), ms)) {
        return false;
    }
    out_ms = ms < 0 || ms > longest_ms ? kForeverMs : static_cast<int64_t>(ms);
    return true;
}

json_t *make_keep_alive(int64_t ms)
{
    if (ms == kForeverMs) {
        return json_integer(-1);
    }
    if (ms % 1000 == 0) {
        return json_integer(ms / 1000);
    }
    return json_string((std::to_string(ms) + "ms").c_str());
}

} // namespace llmproxy
