"""Faults of the system under the daemon, provoked for real: no descriptors, no
disk, no reader, no memory, a crash."""

import contextlib
import ctypes
import json
import os
import pathlib
import platform
import re
import resource
import signal
import subprocess

import pytest
from daemon import DAEMON, SLOW, TOKEN, clean_environment, eventually
from raw import Client, Closed, ask, chat, request


# tgkill(2) is not in glibc before 2.30, nor in Python.
TGKILL = {"x86_64": 234, "aarch64": 131}[platform.machine()]


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def most_descriptors(pid, more):
    """At most `more` than it has."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE,
                     (descriptors(pid) + more, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


# S1
@pytest.mark.native
def test_without_descriptors_those_inside_are_served(proxy):
    daemon, backend = proxy(lambda _, peer: peer.whole({"ok": 1}), WORKERS=1)
    with Client(daemon.port) as inside, contextlib.ExitStack() as stack:
        assert inside.ask("/healthz", token=None).status == 200
        with most_descriptors(daemon.pid, 0):
            outside = [stack.enter_context(Client(daemon.port))
                       for _ in range(20)]
            daemon.wait_log("Too many open files")
            used = cpu_seconds(daemon.pid)
            for _ in range(50):
                assert inside.ask("/healthz", token=None).status == 200
            answer = inside.ask(body=chat())
            assert answer.status == 503, answer.body
            assert answer.json["error"]["code"] == "overloaded"
            assert answer.header("Retry-After")
            assert cpu_seconds(daemon.pid) - used < 1 * SLOW
            assert backend.requests == []
        # Who has waited meanwhile is let in.
        for client in outside:
            assert client.ask("/healthz", token=None).status == 200
    assert ask(daemon.port, body=chat()).status == 200
    assert daemon.log.count("accept") < 20


# S2
def test_a_full_disk_stops_no_log_and_nobody(proxy):
    daemon, _ = proxy(lambda _, peer: peer.whole({"ok": 1}), WORKERS=1,
                      ACCESS_LOG="/dev/full", LOG_LEVEL="debug")
    for _ in range(20):
        assert ask(daemon.port, body=chat()).status == 200
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert "lines of the access log that were lost: 20" in daemon.log


@contextlib.contextmanager
def lone(folder, stderr=subprocess.PIPE, **settings):
    """A daemon at folder/s whose end is the test's business."""
    config = folder / "c.conf"
    config.write_text("".join(f"{name}={value}\n" for name, value in {
        "LISTEN": f"unix:{folder}/s", "WORKERS": 1,
        "TOKENS_JSON": json.dumps([{"token": TOKEN, "label": "a"}]),
        **settings}.items()))
    config.chmod(0o600)
    with subprocess.Popen([DAEMON, "-c", config], stderr=stderr, text=True,
                          env=clean_environment()) as process:
        process.client = lambda: Client(0, unix=f"{folder}/s")

        def reachable():
            with contextlib.suppress(OSError), process.client():
                return True

        eventually(reachable)
        try:
            yield process
        finally:
            process.kill()


# S3
def test_a_reader_that_has_died_stops_nobody(tmp_path):
    with lone(tmp_path, ACCESS_LOG="-", LOG_LEVEL="debug") as process:
        while "ready" not in process.stderr.readline():
            pass
        process.stderr.close()
        for _ in range(20):
            with process.client() as client:
                assert client.ask("/healthz", token=None).status == 200
        process.send_signal(signal.SIGHUP)
        with process.client() as client:
            assert client.ask("/healthz", token=None).status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(5 * SLOW) == 0


# S12. A proxy that has lost what it was told to keep would be worse than one
# that is started anew. Memory is missing for a body, or for its values.
@pytest.mark.parametrize("asked, clients, more_mib", [
    pytest.param(chat("vllm:m", text="x" * (18 << 20)), 8, 0, id="body"),
    # A sanitizer has its own room for what is small.
    pytest.param(chat("ollama:m", unknown=[[]] * (1 << 19)), 1, 24, id="tree",
                 marks=pytest.mark.native)])
def test_a_daemon_without_memory_ends_with_words(tmp_path, backend, asked,
                                                 clients, more_mib):
    behind = backend(lambda _, peer: peer.whole({"ok": 1}))
    data = request(body=asked)
    with lone(tmp_path, VLLM_BASE_URL=behind.url) as process:
        with process.client() as client:
            assert client.ask(body=chat("vllm:m")).status == 200
        with open(f"/proc/{process.pid}/statm", encoding="ascii") as statm:
            size = (int(statm.read().split()[0]) * resource.getpagesize()
                    + (more_mib << 20))
        resource.prlimit(process.pid, resource.RLIMIT_AS, (size, size))
        with (contextlib.ExitStack() as stack,
              contextlib.suppress(OSError, Closed)):
            for _ in range(clients):
                client = stack.enter_context(process.client())
                client.send(data[:-1])
            client.send(data[-1:])
            client.answer()
        text = process.stderr.read()
        code = process.wait(5 * SLOW)
    if SLOW > 1:  # sanitizers have words of their own
        assert code != 0
        return
    assert code == -signal.SIGABRT
    assert "llm-proxyd: out of memory\n" in text
    assert "crashed: signal 6\n" in text


def kill_thread(pid, name, number):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith(name):
            assert ctypes.CDLL(None).syscall(
                TGKILL, pid, int(task.name), int(number)) == 0
            return
    raise AssertionError(f"no thread {name}")


# S14
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
@pytest.mark.parametrize("thread", ["llm-proxyd", "worker"])
@pytest.mark.parametrize("to_file", [False, True])
def test_a_crash_says_where(tmp_path, number, thread, to_file):
    path = tmp_path / "error.log"
    with lone(tmp_path, **({"LOG_FILE": path} if to_file else {})) as process:
        with process.client() as client:
            assert client.ask("/healthz", token=None).status == 200
        kill_thread(process.pid, thread, number)
        text = process.stderr.read()
        code = process.wait(5 * SLOW)
    if SLOW > 1:  # sanitizers have words of their own
        assert code != 0
        return
    assert code == -number
    text += path.read_text() if to_file else ""
    assert re.search(rf"llm-proxyd \S+ crashed: signal {number:d}\n", text)
    assert re.search(r"(llm-proxyd|libc).*\[0x", text)
