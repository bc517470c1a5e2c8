// The error log, and where it may go.

#include "llm_proxy/base/fd.h"
#include "llm_proxy/base/log.h"
#include "llm_proxy/base/strings.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmocka.hpp"

using namespace llmproxy;

// A log file in a folder of its own.
struct LogFile {
    char folder[32] = "/tmp/llmproxy-log-XXXXXX";
    std::string name;

    LogFile()
    {
        if (mkdtemp(folder) != nullptr) {
            name = std::string(folder) + "/log";
        }
    }
    LogFile(const LogFile &) = delete;
    LogFile &operator=(const LogFile &) = delete;
    ~LogFile()
    {
        unlink(name.c_str());
        unlink((name + ".1").c_str());
        rmdir(folder);
    }
    std::string text() const { return read(name); }
    static std::string read(const std::string &path)
    {
        std::string out;
        FILE *file = fopen(path.c_str(), "r");
        if (file != nullptr) {
            char buffer[65536];
            out.assign(buffer, fread(buffer, 1, sizeof(buffer), file));
            fclose(file);
        }
        return out;
    }
};

static void configure(LogLevel level, LogFormat format, const std::string &name)
{
    Error err;
    assert_true(log_configure(level, format, name, err));
}

static void log_lines_cannot_be_forged(void **)
{
    const LogFile file;
    configure(LogLevel::Info, LogFormat::Text, file.name);
    log_info("model %s", "a\nb\x1b[2J\xc3\xa9 \"q\"");
    log_debug("not this one");
    configure(LogLevel::Notice, LogFormat::Text, "");
    const std::string text = file.text();
    const size_t prefix = strlen("2026-11-24T12:00:00.123Z");
    assert_int_equal(text.find(" info: "), prefix);
    assert_string_equal(text.c_str() + prefix,
                        " info: model a\\x0ab\\x1b[2J\\xc3\\xa9 \"q\"\n");
}

static void json_lines_stay_json(void **)
{
    const LogFile file;
    configure(LogLevel::Info, LogFormat::Json, file.name);
    log_warning("a\n\"b\\");
    configure(LogLevel::Notice, LogFormat::Text, "");
    const std::string text = file.text();
    assert_int_equal(text.find("{\"ts\":\"20"), 0);
    assert_true(ends_with(text, "\",\"level\":\"warning\",\"msg\":"
                                "\"a\\\\x0a\\\"b\\\\\"}\n"));
}

static void long_lines_are_cut(void **)
{
    const LogFile file;
    const std::string longer(5000, '\x01');
    configure(LogLevel::Info, LogFormat::Text, file.name);
    log_error("%s", longer.c_str());
    configure(LogLevel::Info, LogFormat::Json, file.name);
    log_error("%s", longer.c_str());
    configure(LogLevel::Notice, LogFormat::Text, "");
    const std::string text = file.text();
    const size_t first = text.find('\n') + 1;
    assert_in_range(first, 2040, 2048);
    assert_in_range(text.size() - first, 2040, 2048);
    assert_true(ends_with(text, "\\\\x01\"}\n"));
}

static void the_log_is_reopened_after_rotation(void **)
{
    const LogFile file;
    configure(LogLevel::Info, LogFormat::Text, file.name);
    log_info("one");
    assert_int_equal(rename(file.name.c_str(), (file.name + ".1").c_str()), 0);
    log_info("two");
    log_reopen();
    log_info("three");
    configure(LogLevel::Notice, LogFormat::Text, "");
    const std::string moved = LogFile::read(file.name + ".1");
    assert_true(moved.find("one") != std::string::npos);
    assert_true(moved.find("two") != std::string::npos);
    assert_true(file.text().find("three") != std::string::npos);
    assert_true(file.text().find("two") == std::string::npos);
}

static void a_log_that_cannot_be_opened_changes_nothing(void **)
{
    const LogFile file;
    configure(LogLevel::Info, LogFormat::Text, file.name);
    Error err;
    assert_false(log_configure(LogLevel::Debug, LogFormat::Json,
                               std::string(file.folder) + "/no/such", err));
    assert_true(err.message.find("No such file") != std::string::npos);
    assert_false(log_enabled(LogLevel::Debug));
    log_info("still here");
    configure(LogLevel::Notice, LogFormat::Text, "");
    assert_true(file.text().find(" info: still here\n") != std::string::npos);
}

static void lines_that_cannot_be_written_are_counted(void **)
{
    const unsigned long before = log_dropped();
    configure(LogLevel::Info, LogFormat::Text, "/dev/full");
    errno = 5;
    log_info("lost");
    assert_int_equal(errno, 5);
    configure(LogLevel::Notice, LogFormat::Text, "");
    assert_int_equal(log_dropped(), before + 1);
}

static size_t count_of(const std::string &text, std::string_view what)
{
    size_t count = 0;
    for (size_t at = text.find(what); at != std::string::npos;
         at = text.find(what, at + 1)) {
        count++;
    }
    return count;
}

static void what_comes_again_is_counted(void **)
{
    const LogFile file;
    log_end_period();
    configure(LogLevel::Info, LogFormat::Text, file.name);
    for (int i = 0; i < 10; i++) {
        log_warning("backend %s", "down");
        log_warning("backend %s", "slow");
        log_notice("reloaded");
    }
    log_error("backend down"); // another level is another message
    assert_int_equal(count_of(file.text(), " warning: backend down\n"), 3);
    assert_int_equal(count_of(file.text(), " warning: backend slow\n"), 3);
    assert_int_equal(count_of(file.text(), " notice: reloaded\n"), 10);
    assert_int_equal(count_of(file.text(), " error: backend down\n"), 1);
    log_end_period();
    assert_int_equal(
        count_of(file.text(), " warning: backend down (7 more times)\n"), 1);
    assert_int_equal(count_of(file.text(), "more times"), 2);
    log_warning("backend down"); // a new period
    log_end_period();
    configure(LogLevel::Notice, LogFormat::Text, "");
    assert_int_equal(count_of(file.text(), "more times"), 2);
    assert_int_equal(count_of(file.text(), " warning: backend down\n"), 4);
}

static void more_different_messages_than_are_counted_are_written(void **)
{
    const LogFile file;
    log_end_period();
    configure(LogLevel::Info, LogFormat::Text, file.name);
    for (int i = 0; i < 250; i++) {
        log_error("message %d", i % 50);
    }
    const size_t lines = count_of(file.text(), "\n");
    log_end_period();
    configure(LogLevel::Notice, LogFormat::Text, "");
    assert_int_equal(lines, 32 * 3 + 18 * 5);
    assert_int_equal(count_of(file.text(), "(2 more times)"), 32);
}

static void lost_lines_are_said_when_they_can_be(void **)
{
    const LogFile file;
    log_end_period();
    configure(LogLevel::Info, LogFormat::Text, "/dev/full");
    log_info("lost");
    log_end_period(); // cannot be said yet
    configure(LogLevel::Info, LogFormat::Text, file.name);
    log_end_period();
    log_end_period();
    configure(LogLevel::Notice, LogFormat::Text, "");
    assert_int_equal(
        count_of(file.text(), "lines of this log that were lost: "), 1);
}

static void syslog_gets_a_datagram_a_line(void **)
{
    const LogFile folder;
    const std::string path = folder.name;
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    Error err;
    LogTarget target;
    assert_false(target.open("syslog:" + path, err));
    assert_true(starts_with(err.message, path + ": "));
    for (int round = 0; round < 2; round++) { // it is restarted
        (void)unlink(path.c_str());
        const Fd server(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        assert_int_equal(bind(server.get(),
                              reinterpret_cast<sockaddr *>(&address),
                              sizeof(address)),
                         0);
        if (round == 0) {
            assert_true(target.open("syslog:" + path, err));
            assert_true(target.stamps());
        }
        assert_int_equal(target.write(LogLevel::Warning, "one\ntwo\n"), 0);
        for (const char *wanted : {"one", "two"}) {
            char got[200];
            const ssize_t n = recv(server.get(), got, sizeof(got) - 1, 0);
            assert_true(n > 0);
            got[n] = '\0';
            assert_true(starts_with(got, "<28>"));
            assert_true(ends_with(got, std::string("]: ") + wanted));
            assert_non_null(strstr(got, " llm-proxyd["));
        }
    }
    assert_int_equal(target.write(LogLevel::Warning, "three\nfour\n"), 2);
    (void)unlink(path.c_str());
}

static void escapes_untrusted_bytes(void **)
{
    std::string out;
    append_escaped(out, std::string_view("a\"\\\0\x7f", 5));
    assert_string_equal(out.c_str(), "a\\x22\\x5c\\x00\\x7f");
    out.clear();
    append_escaped(out, "abcdef", 3);
    assert_string_equal(out.c_str(), "abc...");
}

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(log_lines_cannot_be_forged),
        cmocka_unit_test(json_lines_stay_json),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(the_log_is_reopened_after_rotation),
        cmocka_unit_test(a_log_that_cannot_be_opened_changes_nothing),
        cmocka_unit_test(lines_that_cannot_be_written_are_counted),
        cmocka_unit_test(what_comes_again_is_counted),
        cmocka_unit_test(more_different_messages_than_are_counted_are_written),
        cmocka_unit_test(lost_lines_are_said_when_they_can_be),
        cmocka_unit_test(syslog_gets_a_datagram_a_line),
        cmocka_unit_test(escapes_untrusted_bytes),
    };
    return cmocka_run_group_tests_name("log", tests, nullptr, nullptr);
}
