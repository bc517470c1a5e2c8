"""Logs that nobody reads, that cannot be opened, that were moved away."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from daemon import DAEMON, SLOW, TOKEN, clean_environment, run_daemon
from raw import Client, ask, chat


def config_file(folder, **settings):
    path = folder / "llm-proxy.conf"
    path.write_text("".join(f"{key}={value}\n" for key, value in {
        "LISTEN": f"unix:{folder}/s", "WORKERS": 1,
        "TOKENS_JSON": json.dumps([{"token": TOKEN, "label": "a"}]),
        **settings}.items()))
    path.chmod(0o600)
    return path


@pytest.mark.threads
def test_a_reader_that_is_stuck_stops_nobody(tmp_path):
    path = config_file(tmp_path, ACCESS_LOG="-", LOG_LEVEL="debug")
    reader, writer = os.pipe()
    with subprocess.Popen([DAEMON, "-c", path], stderr=writer,
                          env=clean_environment()) as process:
        os.close(writer)
        while b"ready" not in os.read(reader, 65536):
            pass
        end = time.monotonic() + 30 * SLOW
        with Client(0, unix=str(tmp_path / "s")) as client:
            for _ in range(3000):
                assert client.ask("/healthz", token=None).status == 200
                assert time.monotonic() < end
        time.sleep(0.3)
        # What was read is whole lines, but for the cut at the pipe's end.
        seen = os.read(reader, 1 << 20).decode().split("\n")
        assert len(seen) > 100
        assert all(line.startswith(("ts=", "20")) for line in seen[:-1])
        process.send_signal(signal.SIGTERM)
        assert process.wait(5 * SLOW) == 0
    os.close(reader)


@pytest.mark.parametrize("name", ["LOG_FILE", "ACCESS_LOG"])
def test_a_log_that_cannot_be_opened_is_said(tmp_path, name):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path / "no" / "log"):
        config = config_file(tmp_path, **{name: path})
        for arguments in (["-t", "-c", config], ["-c", config]):
            code, _, err = run_daemon(*map(str, arguments))
            assert code == 73
            assert name in err and str(path) in err


def test_a_check_makes_no_log_files(tmp_path):
    logs = {"LOG_FILE": tmp_path / "error", "ACCESS_LOG": tmp_path / "access"}
    config = config_file(tmp_path, **logs)
    code, _, err = run_daemon("-t", "-c", str(config))
    assert (code, err) == (0, "configuration is ok\n")
    assert not any(path.exists() for path in logs.values())
    for path in logs.values():
        path.write_text("kept\n")
    assert run_daemon("-t", "-c", str(config))[0] == 0
    assert all(path.read_text() == "kept\n" for path in logs.values())
    for path in logs.values():
        path.unlink()
        path.mkdir()
    code, _, err = run_daemon("-t", "-c", str(config))
    assert code == 73
    for name, path in logs.items():
        assert f"{name}: {path}: Is a directory" in err


def test_a_reload_takes_all_or_nothing(proxy, tmp_path):
    daemon, _ = proxy()
    daemon.write_config(LOG_FILE=tmp_path / "new.log", LOG_LEVEL="debug",
                        ACCESS_LOG="/nonexistent/access.log")
    daemon.reload(good=False)
    assert "/nonexistent/access.log" in daemon.log
    assert not (tmp_path / "new.log").exists()
    before = len(daemon.access)
    assert ask(daemon.port, "/healthz", token=None).status == 200
    daemon.wait_access(before + 1)
    daemon.write_config(LOG_FILE="/nonexistent/new.log",
                        ACCESS_LOG=tmp_path / "other.log")
    daemon.reload(good=False)
    assert ask(daemon.port, "/healthz", token=None).status == 200
    daemon.wait_access(before + 2)


def test_usr1_reopens_the_logs(proxy, tmp_path):
    daemon, _ = proxy(LOG_FILE=None)
    moved = tmp_path / "moved"
    assert ask(daemon.port, "/healthz", token=None).status == 200
    daemon.wait_access(1)
    daemon.access_path.rename(moved)
    daemon.signal(signal.SIGUSR1)
    daemon.wait_log("logs reopened")
    assert ask(daemon.port, "/healthz", token=None).status == 200
    assert len(daemon.wait_access(1)) == 1
    assert len(moved.read_text().splitlines()) == 1


@pytest.mark.threads
def test_no_other_signal_ends_it(proxy, workers):
    daemon, _ = proxy(lambda _, peer: peer.whole({"ok": 1}), WORKERS=workers)
    harmless = {signal.SIGUSR1, signal.SIGALRM, signal.SIGVTALRM,
                signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGXFSZ,
                signal.SIGPIPE, signal.SIGCHLD, signal.SIGURG,
                signal.SIGRTMIN, signal.SIGRTMAX}
    for number in sorted(harmless):
        daemon.signal(number)
        assert ask(daemon.port, body=chat()).status == 200
    assert daemon.process.poll() is None


@pytest.fixture
def syslog(tmp_path):
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(10 * SLOW)
        yield server


def test_both_logs_go_to_syslog(tmp_path, syslog):
    there = f"syslog:{syslog.getsockname()}"
    path = config_file(tmp_path, LOG_FILE=there, ACCESS_LOG=there)
    with subprocess.Popen([DAEMON, "-c", path],
                          env=clean_environment()) as process:
        check_syslog(syslog, process.pid, str(tmp_path / "s"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(5 * SLOW) == 0


def check_syslog(syslog, pid, address):
    said = []
    while not said or " ready, " not in said[-1]:
        said.append(syslog.recv(4096).decode())
    head = rf"<29>\w{{3}} [ \d]\d [\d:]{{8}} llm-proxyd\[{pid}\]: "
    assert re.fullmatch(head + r"notice: llm-proxyd \S+ ready, 1 workers",
                        said[-1])
    with Client(0, unix=address) as client:
        assert client.ask("/healthz", token=None).status == 200
    line = syslog.recv(4096).decode()
    assert line.startswith("<30>") and " endpoint=healthz " in line
    assert not line.endswith("\n")


def test_a_syslog_that_nobody_reads_stops_nobody(proxy, syslog):
    daemon, _ = proxy(WORKERS=1,
                      ACCESS_LOG=f"syslog:{syslog.getsockname()}")
    with Client(daemon.port) as client:
        for _ in range(3000):
            assert client.ask("/healthz", token=None).status == 200
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    lost = re.search(r"lines of the access log that were lost: (\d+)",
                     daemon.log)
    got = 0
    syslog.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while syslog.recv(4096):
            got += 1
    assert got + int(lost[1]) == 3000


def test_no_syslog_is_said(tmp_path):
    config = config_file(tmp_path, LOG_FILE=f"syslog:{tmp_path}/none")
    code, _, err = run_daemon("-c", str(config))
    assert code == 73
    assert f"LOG_FILE: {tmp_path}/none: No such file" in err


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_journal_gets_priorities_and_no_time(tmp_path, log_format):
    reader, writer = os.pipe()
    info = os.fstat(writer)
    path = config_file(tmp_path, LOG_FORMAT=log_format, ACCESS_LOG="-")
    environment = {**clean_environment(),
                   "JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"}
    with subprocess.Popen([DAEMON, "-c", path], stderr=writer,
                          env=environment) as process:
        os.close(writer)
        with open(reader, encoding="ascii") as lines:
            said = []
            while not said or "ready" not in said[-1]:
                said.append(next(lines))
            with Client(0, unix=str(tmp_path / "s")) as client:
                assert client.ask("/healthz", token=None).status == 200
            said.append(next(lines))
            process.send_signal(signal.SIGTERM)
            said += lines
        assert process.wait(5 * SLOW) == 0
    assert all(re.match("<[3-7]>", line) for line in said)
    ready = next(line for line in said if "ready" in line)
    if log_format == "text":
        assert ready.startswith("<5>notice: llm-proxyd")
    else:
        assert json.loads(ready[3:])["level"] == "notice"
    assert any(line.startswith("<6>") and "healthz" in line for line in said)


def test_what_a_backend_repeats_is_counted(daemon):
    daemon = daemon(VLLM_BASE_URL="http://127.0.0.1:1", WORKERS=1)
    for _ in range(9):
        assert ask(daemon.port, body=chat("vllm:m")).status == 502
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    said = [line for line in daemon.log.splitlines() if "backend vllm" in line]
    assert len(said) == 4 and said[-1].endswith("(6 more times)")


def test_the_time_of_a_decision_is_logged(proxy):
    daemon, _ = proxy(lambda _, peer: peer.whole({"ok": 1}), WORKERS=1)
    assert ask(daemon.port, body=chat()).status == 200
    assert ask(daemon.port, "/healthz", token=None).status == 200
    lines = daemon.wait_access(2)
    assert int(lines[0]["limit_ms"]) >= 0
    assert lines[1]["limit_ms"] == "-"


def test_a_full_house_is_said_once_a_second(proxy):
    daemon, _ = proxy(MAX_CONNECTIONS=2, WORKERS=1)
    clients = [Client(daemon.port) for _ in range(40)]
    daemon.wait_log("MAX_CONNECTIONS is reached")
    assert daemon.log.count("MAX_CONNECTIONS is reached") <= 2
    for client in clients:
        client.close()


def test_anothers_socket_is_not_removed(tmp_path, proxy):
    path = tmp_path / "http.sock"
    first, _ = proxy(LISTEN=f"unix:{path}")
    path.unlink()
    second, _ = proxy(LISTEN=f"unix:{path}")
    first.signal(signal.SIGTERM)
    assert first.wait_exit() == 0
    assert path.exists()
    with Client(0, unix=str(path)) as client:
        assert client.ask("/healthz", token=None).status == 200
    second.stop()
    assert not path.exists()
