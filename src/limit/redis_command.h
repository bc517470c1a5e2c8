#ifndef LLM_PROXY_SRC_LIMIT_REDIS_COMMAND_H
#define LLM_PROXY_SRC_LIMIT_REDIS_COMMAND_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy
{

// A command as Redis reads it: how many words, then each behind its length.
// Made for every decision, so its room is used again.
class RedisCommand
{
public:
    // Starts over; as many words must follow.
    void begin(size_t words)
    {
        bytes_.clear();
        add_mark('*', words);
    }
    void add(std::string_view word)
    {
        add_mark('$', word.size());
        bytes_.append(word);
        bytes_.append("\r\n", 2);
    }
    void add_number(uint64_t number)
    {
        char text[20];
        char *const end = text + sizeof text;
        const char *const from = put_digits(number, end);
        add(std::string_view(from, static_cast<size_t>(end - from)));
    }
    const std::string &bytes() const { return bytes_; }

private:
    void add_mark(char kind, uint64_t count)
    {
        char text[24];
        char *const end = text + sizeof text;
        end[-2] = '\r';
        end[-1] = '\n';
        char *from = put_digits(count, end - 2);
        *--from = kind;
        bytes_.append(from, static_cast<size_t>(end - from));
    }
    // Writes them up to `end`; returns where they begin.
    static char *put_digits(uint64_t number, char *end)
    {
        do {
            *--end = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number != 0);
        return end;
    }

    std::string bytes_;
};

} // namespace llmproxy

#endif
