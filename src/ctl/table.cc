// Numbers, times and tables for people. Knows no JSON and no terminal.
#include "table.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <utility>

namespace llmproxy
{

std::string short_bytes(uint64_t bytes)
{
    static const char units[] = "kMGTPE";
    if (bytes < 1000) {
        return std::to_string(bytes);
    }
    // In tenths of a unit, rounded down.
    size_t unit = 0;
    uint64_t whole = bytes;
    uint64_t rest = 0;
    do {
        rest = whole % 1024;
        whole /= 1024;
        unit++;
    } while (whole >= 1000);
    std::string text = std::to_string(whole);
    if (whole < 10) {
        text += '.';
        text += static_cast<char>('0' + rest * 10 / 1024);
    }
    return text + units[unit - 1];
}

std::string short_time(int64_t ms)
{
    const int64_t s = std::max<int64_t>(ms, 0) / 1000;
    char text[32];
    if (s < 10) {
        (void)snprintf(text, sizeof text, "%d.%ds", static_cast<int>(s),
                       static_cast<int>(std::max<int64_t>(ms, 0) / 100 % 10));
    } else if (s < 60) {
        (void)snprintf(text, sizeof text, "%ds", static_cast<int>(s));
    } else if (s < 3600) {
        (void)snprintf(text, sizeof text, "%dm%02ds", static_cast<int>(s / 60),
                       static_cast<int>(s % 60));
    } else if (s < 86400) {
        (void)snprintf(text, sizeof text, "%dh%02dm",
                       static_cast<int>(s / 3600),
                       static_cast<int>(s / 60 % 60));
    } else {
        (void)snprintf(text, sizeof text, "%lldd%02dh",
                       static_cast<long long>(s / 86400),
                       static_cast<int>(s / 3600 % 24));
    }
    return text;
}

std::string printable(std::string_view text)
{
    static const char digits[] = "0123456789abcdef";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte <= 0x7e) {
            out += c;
        } else {
            out += "\\x";
            out += digits[byte >> 4];
            out += digits[byte & 15];
        }
    }
    return out;
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::add(const std::vector<std::string_view> &cells)
{
    assert(cells.size() == columns_.size());
    std::vector<std::string> row;
    row.reserve(cells.size());
    for (const std::string_view cell : cells) {
        row.push_back(cell.empty() ? "-" : printable(cell));
    }
    rows_.push_back(std::move(row));
}

std::vector<std::string> Table::lines() const
{
    std::vector<std::vector<std::string>> all(1);
    for (const Column &column : columns_) {
        all[0].emplace_back(column.title);
    }
    all.insert(all.end(), rows_.begin(), rows_.end());
    std::vector<size_t> widths(columns_.size());
    for (const std::vector<std::string> &row : all) {
        for (size_t i = 0; i < row.size(); i++) {
            widths[i] = std::max(widths[i], row[i].size());
        }
    }
    std::vector<std::string> lines;
    for (const std::vector<std::string> &row : all) {
        std::string line;
        for (size_t i = 0; i < row.size(); i++) {
            const std::string pad(widths[i] - row[i].size(), ' ');
            line += i == 0 ? "" : "  ";
            line += columns_[i].right ? pad + row[i] : row[i] + pad;
        }
        line.erase(line.find_last_not_of(' ') + 1);
        lines.push_back(std::move(line));
    }
    return lines;
}

} // namespace llmproxy
