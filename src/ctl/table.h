#ifndef LLM_PROXY_CTL_TABLE_H
#define LLM_PROXY_CTL_TABLE_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy
{

// "0", "900", "1.5k", "20M", "3.0G": powers of 1024, three digits at most.
std::string short_bytes(uint64_t bytes);
// "0.4s", "42s", "5m03s", "3h02m", "12d04h".
std::string short_time(int64_t ms);
// Every byte that is not printable ASCII as \xNN: no text moves a terminal.
std::string printable(std::string_view text);

// Rows of cells under titles. Numbers stand to the right.
class Table
{
public:
    struct Column {
        const char *title;
        bool right;
    };
    explicit Table(std::vector<Column> columns);
    // As many cells as columns; made printable here.
    void add(const std::vector<std::string_view> &cells);
    size_t rows() const { return rows_.size(); }
    // One line each, without its end, the titles first.
    std::vector<std::string> lines() const;

private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

} // namespace llmproxy

#endif
