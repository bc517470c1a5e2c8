// Reads a process' time and memory from /proc.

#include "process_cost.h"

#include "llm_proxy/base/handles.h"

#include <cstdio>
#include <cstring>
#include <string>

#include <dirent.h>

#include "wire.h"

namespace llmproxy
{

namespace
{

void close_file(FILE *file)
{
    fclose(file);
}

void close_directory(DIR *directory)
{
    closedir(directory);
}

using File = Handle<FILE, close_file>;
using Directory = Handle<DIR, close_directory>;

} // namespace

ProcessCost read_process_cost(pid_t pid)
{
    ProcessCost cost;
    std::string folder = "/proc/" + std::to_string(pid);
    std::string tasks = folder + "/task";
    Directory directory(opendir(tasks.c_str()));
    if (directory == nullptr) {
        die("process %d is gone", static_cast<int>(pid));
    }
    while (const dirent *entry = readdir(directory.get())) {
        // ".." has a schedstat too: the main thread's, once more.
        if (entry->d_name[0] == '.') {
            continue;
        }
        File file(
            fopen((tasks + "/" + entry->d_name + "/schedstat").c_str(), "r"));
        unsigned long long cpu = 0;
        unsigned long long wait = 0;
        // A thread that has just ended has no such file.
        if (file != nullptr &&
            fscanf(file.get(), "%llu %llu", &cpu, &wait) == 2) {
            cost.cpu_ns += cpu;
            cost.wait_ns += wait;
        }
    }
    File status(fopen((folder + "/status").c_str(), "r"));
    char line[256];
    while (status != nullptr &&
           fgets(line, sizeof(line), status.get()) != nullptr) {
        unsigned long long kib = 0;
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1) {
            cost.rss_anon_kib = kib;
        }
    }
    return cost;
}

} // namespace llmproxy
