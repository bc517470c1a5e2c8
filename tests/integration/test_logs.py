"""Logs that nobody reads, that cannot be opened, that were moved away."""

import json
import os
import signal
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
    harmless = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
                signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR,
                signal.SIGXFSZ, signal.SIGPIPE, signal.SIGWINCH,
                signal.SIGCHLD, signal.SIGURG, signal.SIGRTMIN,
                signal.SIGRTMAX}
    for number in sorted(harmless):
        daemon.signal(number)
        assert ask(daemon.port, body=chat()).status == 200
    assert daemon.process.poll() is None


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
