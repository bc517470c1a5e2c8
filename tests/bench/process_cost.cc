// Reads a process' time and memory from /proc.

#include "process_cost.h"

#include "llm_proxy/base/fd.h"
#include "llm_proxy/base/handles.h"
#include "llm_proxy/base/strings.h"

#include <string>
#include <string_view>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "wire.h"

namespace llmproxy
{

namespace
{

void close_directory(DIR *directory)
{
    closedir(directory);
}

using Directory = Handle<DIR, close_directory>;

// Empty when there is no such file: a thread may have just ended.
std::string read_file(const std::string &path)
{
    const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char text[4096];
    const ssize_t size = read(fd.get(), text, sizeof(text));
    return size <= 0 ? std::string() : std::string(text, text + size);
}

// Takes the number behind spaces off the front of `text`.
uint64_t take_number(std::string_view &text)
{
    const size_t begin = text.find_first_of("0123456789");
    if (begin == std::string_view::npos) {
        return 0;
    }
    text.remove_prefix(begin);
    const std::string_view digits =
        text.substr(0, text.find_first_not_of("0123456789"));
    text.remove_prefix(digits.size());
    uint64_t value = 0;
    return parse_u64(digits, value) ? value : 0;
}

} // namespace

ProcessCost read_process_cost(pid_t pid)
{
    ProcessCost cost;
    const std::string folder = "/proc/" + std::to_string(pid);
    const std::string tasks = folder + "/task";
    const Directory directory(opendir(tasks.c_str()));
    if (directory == nullptr) {
        die("process " + std::to_string(pid) + " is gone");
    }
    while (const dirent *entry = readdir(directory.get())) {
        // ".." has a schedstat too: the main thread's, once more.
        if (entry->d_name[0] == '.') {
            continue;
        }
        const std::string text =
            read_file(tasks + "/" + entry->d_name + "/schedstat");
        std::string_view rest = text;
        cost.cpu_ns += take_number(rest);
        cost.wait_ns += take_number(rest);
    }
    const std::string status = read_file(folder + "/status");
    const size_t field = status.find("RssAnon:");
    if (field != std::string::npos) {
        std::string_view rest = std::string_view(status).substr(field);
        cost.rss_anon_kib = take_number(rest);
    }
    return cost;
}

} // namespace llmproxy
