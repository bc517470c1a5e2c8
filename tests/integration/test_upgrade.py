"""SIGUSR2: another process takes over without a client that notices."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import threading
import time

import pytest
from ctl import ask_json, ctl
from daemon import DAEMON, SLOW, eventually, gone, run_daemon
from manager import Manager
from raw import Client, ask, chat, crowd, request
from streamer import Streamer, start_stream

SECRET_FIELD = "X-RateLimit-Checked"


def ok(_request, peer):
    peer.whole({"ok": 1})


def remaining(answer):
    return int(answer.header("X-RateLimit-Remaining-Requests"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def limited(**limits):
    return [{"token": "demo-key-123", "label": "alice", **limits}]


# Clients ----------------------------------------------------------------------

@pytest.mark.threads
def test_nobody_notices(proxy, workers, tmp_path):
    streamer = Streamer()
    unix, pid_file = tmp_path / "http", tmp_path / "pid"
    daemon, _ = proxy(streamer, WORKERS=workers,
                      arguments=["-p", pid_file],
                      LISTEN=f"127.0.0.1:0,unix:{unix}")
    stream, answer = start_stream(daemon)
    kept, idle = Client(daemon.port), Client(daemon.port)
    assert kept.ask("/healthz").header("Connection") is None
    waiting = Client(daemon.port)
    waiting.send(request(body=chat())[:-5])
    daemon.upgrade()
    first, second = daemon.pids
    assert int(pid_file.read_text()) == second
    # Who was connected has one more answer.
    for client in kept, idle:
        told = client.ask("/readyz")
        assert told.status == 200 and told.header("Connection") == "close"
        assert client.closed()
    # Who comes is served by the new one, at every address.
    for new in Client(daemon.port), Client(None, unix=str(unix)):
        assert new.ask("/healthz").header("Connection") is None
        assert new.ask("/healthz").status == 200
    assert not gone(first)
    streamer.gate.set()
    waiting.send(request(body=chat())[-5:])
    assert waiting.answer().status == 200
    stream.rest(answer)
    assert answer.events == [{"n": 1}, {"n": 2}, "[DONE]"]
    eventually(lambda: gone(first))
    # The old one has taken nothing along.
    assert unix.exists() and int(pid_file.read_text()) == second
    with Client(None, unix=str(unix)) as new:
        assert new.ask("/healthz").status == 200
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert not unix.exists() and not pid_file.exists()


def test_the_new_process_reads_the_settings(proxy, tmp_path):
    left, came = tmp_path / "left", tmp_path / "came"
    daemon, _ = proxy(ok, WORKERS=1, LISTEN=f"127.0.0.1:0,unix:{left}")
    daemon.write_config(WORKERS=3, LISTEN=f"127.0.0.1:0,unix:{came}")
    daemon.upgrade()
    assert "ready, 3 workers" in daemon.log
    assert came.exists() and not left.exists()
    assert ask(daemon.port, body=chat()).status == 200


def test_one_upgrade_after_the_other(proxy):
    """Each old process stays until its last stream has ended."""
    streamers = []
    daemon, _ = proxy(lambda got, peer: streamers[-1](got, peer))
    streams = []
    for _ in range(3):
        streamers.append(Streamer())
        streams.append(start_stream(daemon))
        daemon.upgrade()
    pids = daemon.pids
    assert not any(map(gone, pids))
    for streamer, (stream, answer) in zip(streamers, streams):
        streamer.gate.set()
        stream.rest(answer)
        assert answer.events[-1] == "[DONE]"
    eventually(lambda: all(map(gone, pids[:3])))
    assert not gone(pids[3])


@pytest.mark.threads
def test_the_end_is_the_end_of_all(proxy, workers):
    daemon, _ = proxy(Streamer(), WORKERS=workers, DRAIN_TIMEOUT="300ms")
    old, answer = start_stream(daemon)
    idle = Client(daemon.port)
    assert idle.ask("/healthz").status == 200
    daemon.upgrade()
    first = daemon.process.pid
    daemon.signal(signal.SIGTERM)
    with pytest.raises(Exception, match="connection closed"):
        old.rest(answer)
    assert answer.events[-1]["error"]["code"] == "shutting_down"
    assert idle.closed()
    assert daemon.wait_exit() == 0 and gone(first)


# Limits -----------------------------------------------------------------------

@pytest.mark.threads
def test_a_limit_goes_on(proxy, workers, tmp_path):
    state = tmp_path / "state"
    daemon, _ = proxy(ok, WORKERS=workers, tokens=limited(rpm=10, rpd=12),
                      STATE_FILE=state)
    kept = Client(daemon.port)
    assert [remaining(kept.ask(body=chat())) for _ in range(4)] == [9, 8, 7, 6]
    daemon.upgrade()
    assert remaining(ask(daemon.port, body=chat())) == 5
    # The old process and the new one count in one place.
    assert remaining(kept.ask(body=chat())) == 4
    eventually(lambda: gone(daemon.process.pid))
    daemon.upgrade()
    assert sorted(crowd(daemon.port, 8, lambda: None)) == [200] * 4 + [429] * 4
    daemon.advance(61_000)
    assert sorted(crowd(daemon.port, 4, lambda: None)) == [200] * 2 + [429] * 2
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert b" 12\n" in state.read_bytes()


@pytest.mark.threads
def test_a_limit_holds_under_load(proxy, workers):
    """N is N while processes come and go."""
    daemon, _ = proxy(ok, WORKERS=workers, tokens=limited(rpm=400))
    statuses, over = [], threading.Event()

    def ask_on():
        while not over.is_set():
            statuses.append(ask(daemon.port, body=chat()).status)

    threads = [threading.Thread(target=ask_on) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        so_far = len(statuses)
        eventually(lambda: len(statuses) > so_far + 50)  # noqa: B023
        daemon.upgrade()
    eventually(lambda: statuses.count(429) > 50, 30)
    over.set()
    for thread in threads:
        thread.join()
    assert statuses.count(200) == 400
    assert set(statuses) == {200, 429}


@pytest.mark.threads
@pytest.mark.parametrize("end", ["finishes", "is killed"])
def test_places_that_are_held_stay_held(proxy, workers, end):
    streamer = Streamer()
    daemon, _ = proxy(streamer, WORKERS=workers, tokens=limited(concurrency=2))
    old, answer = start_stream(daemon)
    daemon.upgrade()
    first = daemon.process.pid
    new, _ = start_stream(daemon)
    assert ask(daemon.port, body=chat()).status == 429
    if end == "finishes":
        new.close()
        eventually(lambda: "client_gone" in str(daemon.access))
        new, _ = start_stream(daemon)
        assert ask(daemon.port, body=chat()).status == 429
        streamer.gate.set()
        old.rest(answer)
    else:
        os.kill(first, signal.SIGKILL)
        daemon.process.wait()
        daemon.process.returncode = 0  # as wanted
        new.close()
        streamer.gate.set()
    eventually(lambda: ask(daemon.port, body=chat()).status == 200)


@pytest.mark.threads
def test_receipts_count_once(proxy):
    daemon, behind = proxy(ok, tokens=limited(rpm=20))

    def authz(client, name):
        answer = client.ask("/internal/authz",
                            headers=[f"X-Request-ID: {name}"])
        assert answer.status == 200
        return f"{SECRET_FIELD}: {answer.header(SECRET_FIELD)}"

    def use(client, receipt):
        """True if nothing was charged."""
        answer = client.ask(body=chat(), headers=[receipt])
        assert answer.status == 200
        return answer.header("X-RateLimit-Limit-Requests") is None

    def tell_each_other():
        """What the new one knows by now, the old one knows: it was told before
        the second word on the logs, which goes the same way."""
        for _ in range(2):
            reopened = daemon.log.count("logs reopened")
            daemon.signal(signal.SIGUSR1)
            daemon.wait_log("logs reopened", times=reopened + 2)

    old = [Client(daemon.port) for _ in range(4)]
    unused, used = authz(old[0], "a"), authz(old[0], "b")
    assert use(old[0], used)
    daemon.upgrade()
    new = Client(daemon.port)
    assert not use(new, used)
    assert use(new, unused)
    # nginx asks anew for each redirect, by whatever connection.
    left = remaining(new.ask("/internal/authz", headers=["X-Request-ID: c"]))
    tell_each_other()
    again = old[0].ask("/internal/authz", headers=["X-Request-ID: c"])
    assert remaining(again) == left
    # Both processes tell each other what they have seen.
    assert not use(old[1], unused)
    late = authz(old[2], "d")
    assert use(new, late)
    tell_each_other()
    assert not use(old[3], late)
    assert len(behind.requests) >= 5


# A new process that cannot ---------------------------------------------------

@pytest.fixture
def replaceable(proxy, tmp_path):
    """start(): a daemon; replace(text): what an upgrade finds in its place."""
    program = tmp_path / "llm-proxyd"
    program.symlink_to(DAEMON)

    def replace(text, mode=0o755):
        fresh = tmp_path / "fresh"
        fresh.write_text(text)
        fresh.chmod(mode)
        fresh.replace(program)

    def start(handler=ok, **named):
        return proxy(handler, program=program, **named)[0]

    return start, replace


@pytest.mark.bare
@pytest.mark.threads
@pytest.mark.parametrize("script, words", [
    ("#!/bin/sh\necho 'no library' >&2; exit 1\n",
     ["the new process says: no library", "it ended with 1"]),
    ("#!/bin/sh\nkill -SEGV $$\n", ["it was ended by signal 11"]),
    ("#!/bin/sh\nexec sleep 60\n", ["is not ready in time",
                                    "it was ended by signal 9"]),
    ("#!/bin/sh\nexec 1>&- 2>&-; exit 3\n", ["it ended with 3"]),
    ("", ["Exec format error"]),
    (None, ["Permission denied"]),
])
def test_one_that_cannot_start_changes_nothing(replaceable, tmp_path, script,
                                               words):
    start, replace = replaceable
    unix, pid_file = tmp_path / "http", tmp_path / "pid"
    daemon = start(tokens=limited(rpm=10), WORKERS=1, UPGRADE_TIMEOUT="1s",
                   LISTEN=f"127.0.0.1:0,unix:{unix}",
                   arguments=["-p", pid_file])
    kept = Client(daemon.port)
    assert remaining(kept.ask(body=chat())) == 9
    before = descriptors(daemon.pid)
    replace(script or "", 0o755 if script is not None else 0o644)
    daemon.upgrade(good=False)
    for each in words:
        daemon.wait_log(re.escape(each))
    assert remaining(kept.ask(body=chat())) == 8
    assert remaining(ask(daemon.port, body=chat())) == 7
    with Client(None, unix=str(unix)) as client:
        assert remaining(client.ask(body=chat())) == 6
    assert int(pid_file.read_text()) == daemon.pid
    eventually(lambda: descriptors(daemon.pid) <= before)
    daemon.reload()
    # And it can be tried again.
    (tmp_path / "llm-proxyd").unlink()
    (tmp_path / "llm-proxyd").symlink_to(DAEMON)
    daemon.upgrade()
    assert remaining(ask(daemon.port, body=chat())) == 5
    assert unix.exists() and pid_file.exists()


def test_settings_that_are_wrong_are_named(proxy, tmp_path):
    unix = tmp_path / "http"
    daemon, _ = proxy(ok, LISTEN=f"127.0.0.1:0,unix:{unix}")
    daemon.write_config(WORKERS="many")
    daemon.upgrade(good=False)
    assert "the new process says: " in daemon.log and "WORKERS" in daemon.log
    assert "it ended with 78" in daemon.log
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon.write_config(WORKERS=2, LISTEN=(
            f"127.0.0.1:0,unix:{unix},127.0.0.1:{port}"))
        daemon.upgrade(good=False)
    assert "it ended with 71" in daemon.log
    assert ask(daemon.port, body=chat()).status == 200
    with Client(None, unix=str(unix)) as client:
        assert client.ask(body=chat()).status == 200


@pytest.mark.bare
def test_signals_while_it_starts(replaceable):
    start, replace = replaceable
    daemon = start()
    replace("#!/bin/sh\nexec sleep 60\n")
    daemon.signal(signal.SIGUSR2)
    daemon.wait_log("upgrade: process [0-9]+ is starting")
    child = int(re.findall(r"process (\d+) is starting", daemon.log)[-1])
    daemon.signal(signal.SIGUSR2)
    daemon.wait_log("an upgrade is under way already")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("the reload follows the upgrade")
    daemon.signal(signal.SIGWINCH)
    assert ask(daemon.port, body=chat()).status == 200
    os.kill(child, signal.SIGKILL)
    daemon.wait_log("it was ended by signal 9; this process goes on")
    daemon.wait_log("reloaded, ")
    daemon.signal(signal.SIGUSR2)
    daemon.wait_log("upgrade: process [0-9]+ is starting", times=2)
    child = int(re.findall(r"process (\d+) is starting", daemon.log)[-1])
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert gone(child)


@pytest.fixture
def slow_successor(replaceable, tmp_path):
    """start(): a daemon; go(): the new process, which waits, begins."""
    start, replace = replaceable
    flag = tmp_path / "go"

    def begin(handler=ok, **named):
        daemon = start(handler, **named)
        replace(f"#!/bin/sh\nuntil [ -e {flag} ]; do sleep 0.01; done\n"
                f'exec {DAEMON} "$@"\n')
        daemon.signal(signal.SIGUSR2)
        daemon.wait_log("upgrade: process [0-9]+ is starting")
        return daemon, int(re.findall(r"process (\d+) is starting",
                                      daemon.log)[-1])

    def finish(daemon):
        flag.touch()
        # The old process may have ended by then.
        eventually(lambda: daemon.log.count("ready, ") == 2, 20)
        daemon.successors.append(int(re.findall(
            r"upgrade: process (\d+) takes over", daemon.log)[-1]))
    return begin, flag.touch, finish


@pytest.mark.bare
def test_what_comes_meanwhile_is_not_lost(slow_successor, tmp_path):
    begin, _, finish = slow_successor
    unix = tmp_path / "http"
    daemon, _ = begin(LISTEN=f"127.0.0.1:0,unix:{unix}", preexec=os.setsid)
    daemon.signal(signal.SIGWINCH)
    daemon.wait_log("accepting goes on: an upgrade is under way")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("the reload follows the upgrade")
    finish(daemon)
    daemon.wait_log("reloaded, ")
    with Client(None, unix=str(unix)) as client:
        assert client.ask(body=chat()).status == 200
    assert ask(daemon.port, body=chat()).status == 200


def caught(pid, number):
    """The signal has a handler there by now."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return int(re.search(r"SigCgt:\s+(\w+)", status)[1], 16) >> (number - 1) & 1


@pytest.mark.bare
@pytest.mark.parametrize("kills", [False, True], ids=["signals", "killed"])
def test_the_last_moment_of_the_old_one(slow_successor, kills):
    """The new one has said that it is ready, the old one has not heard it."""
    begin, go, finish = slow_successor
    daemon, child = begin()
    daemon.freeze()
    go()
    eventually(lambda: caught(child, signal.SIGHUP))
    if kills:
        os.kill(child, signal.SIGKILL)
        eventually(lambda: gone(child))
    else:
        for number in (signal.SIGUSR1, signal.SIGHUP):
            os.kill(child, number)
    daemon.signal(signal.SIGCONT)
    if kills:
        daemon.wait_log("upgrade failed: it was ended by signal 9")
    else:
        finish(daemon)
        daemon.wait_log("reloaded, ")
    assert ask(daemon.port, body=chat()).status == 200


def test_a_replaced_process_drains_at_the_first_signal(proxy, tmp_path):
    streamer = Streamer()
    log = tmp_path / "access"
    daemon, _ = proxy(streamer, DRAIN_TIMEOUT="60s", ACCESS_LOG=log)
    stream, answer = start_stream(daemon)
    daemon.upgrade()
    log.rename(tmp_path / "rotated")
    daemon.signal(signal.SIGUSR1)
    daemon.wait_log("logs reopened", times=2)
    os.kill(daemon.pids[0], signal.SIGTERM)
    daemon.wait_log("ending with what still runs")
    streamer.gate.set()
    stream.rest(answer)
    assert answer.events[-1] == "[DONE]"
    stream.close()
    eventually(lambda: gone(daemon.pids[0]))
    assert "cause=done" in log.read_text()
    assert "cause=done" not in (tmp_path / "rotated").read_text()


def test_only_its_parent_hands_over():
    code, _, err = run_daemon(env={"LLM_PROXYD_PARENT": "1",
                                   "LISTEN_FDS": "0"})
    assert code == 78
    assert "the process that upgrades is not there any more" in err


# Around it --------------------------------------------------------------------

def test_the_service_manager_is_told(proxy, tmp_path):
    manager = Manager(tmp_path / "notify")
    daemon, _ = proxy(Streamer(), env={
        "NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": str(400_000 * SLOW),
        "WATCHDOG_PID": "0"})
    stream, _ = start_stream(daemon)
    manager.wait("READY")
    daemon.upgrade()
    told = manager.wait("MAINPID")
    assert told == {"MAINPID": str(daemon.pid)}
    told = manager.wait("READY")
    assert told["MAINPID"] == str(daemon.pid)
    # The new one feeds the watchdog; the old one, which has a client, is quiet.
    for _ in range(3):
        assert manager.wait("WATCHDOG")["STATUS"] == "serving, 0 clients"
    stream.close()
    daemon.stop()
    manager.close()


@pytest.mark.bare
def test_the_control_socket_is_the_new_ones(replaceable, tmp_path):
    start, replace = replaceable
    path = tmp_path / "control.sock"
    daemon = start(CONTROL_SOCKET=path)
    first = ask_json(daemon, "status")["pid"]
    replace("#!/bin/sh\nexec sleep 60\n")
    daemon.signal(signal.SIGUSR2)
    daemon.wait_log("process [0-9]+ is starting")
    refused = ctl(daemon, "reload")
    assert refused.code == 69, refused
    assert "no reload while an upgrade is under way" in refused.err
    child = int(re.findall(r"process (\d+) is starting", daemon.log)[-1])
    os.kill(child, signal.SIGKILL)
    daemon.wait_log("upgrade failed: it was ended by signal 9")
    assert ask_json(daemon, "status")["pid"] == first
    (tmp_path / "llm-proxyd").unlink()
    (tmp_path / "llm-proxyd").symlink_to(DAEMON)
    daemon.upgrade()
    assert ask_json(daemon, "status")["pid"] == daemon.pid != first
    eventually(lambda: gone(first))
    assert ctl(daemon, "reload").code == 0
    assert not path.with_name("control.sock.new").exists()
    daemon.stop()
    assert not path.exists()


def test_a_background_daemon(tmp_path):
    config, log, pid_file = (tmp_path / name for name in ("c", "log", "pid"))
    config.write_text(f"LISTEN=unix:{tmp_path}/http\nLOG_FILE={log}\n"
                      'TOKENS_JSON=[{"token":"a-key-1234","label":"a"}]\n')
    assert run_daemon("-d", "-p", pid_file, "-c", config)[0] == 0
    first = int(pid_file.read_text())
    os.kill(first, signal.SIGUSR2)
    eventually(lambda: log.read_text().count("ready, ") == 2)
    second = int(pid_file.read_text())
    assert second != first
    for fd in 0, 1, 2:
        assert os.readlink(f"/proc/{second}/fd/{fd}") == "/dev/null"
    eventually(lambda: gone(first))
    with Client(None, unix=str(tmp_path / "http")) as client:
        assert client.ask("/healthz").status == 200
    os.kill(second, signal.SIGTERM)
    eventually(lambda: gone(second))
    assert not pid_file.exists()


# Under load -------------------------------------------------------------------

class Load:
    """Clients that ask `rate` times a second together, some on kept
    connections; one that was held up makes up for it."""

    def __init__(self, port, rate, clients=20):
        self.port, self.every = port, clients / rate
        self.answers, self.failures = 0, []
        self.lock, self.over = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i % 2 == 0,))
                        for i in range(clients)]
        self.began = time.monotonic()
        for thread in self.threads:
            thread.start()

    def run(self, keep):
        client = None
        due = time.monotonic()
        while not self.over.wait(max(0, due - time.monotonic())):
            due += self.every
            try:
                client = client or Client(self.port)
                answer = client.ask(body=chat())
                if answer.status != 200:
                    raise AssertionError(f"status {answer.status}")
                if not keep or answer.header("Connection") == "close":
                    client.close()
                    client = None
                with self.lock:
                    self.answers += 1
            except Exception as failure:  # pylint: disable=broad-except
                self.failures.append(repr(failure))
                client = None
        if client:
            client.close()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self.answers / (time.monotonic() - self.began)


def test_ten_upgrades_and_reloads_under_load(proxy):
    streamer = Streamer()

    def handler(got, peer):
        if got.json.get("stream"):
            streamer(got, peer)
        else:
            peer.whole({"ok": 1})

    daemon, behind = proxy(handler)

    def held():
        """Descriptors but those of connections that are kept for the backend:
        a moment of load opens some more, which stay."""
        mine = f":{int(behind.url.rpartition(':')[2]):04X}"
        with open("/proc/net/tcp", encoding="ascii") as lines:
            kept = {f"socket:[{line.split()[9]}]" for line in lines
                    if line.split()[2].endswith(mine)}
        links = set()
        for fd in os.listdir(f"/proc/{daemon.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                links.add((fd, os.readlink(f"/proc/{daemon.pid}/fd/{fd}")))
        return sum(link not in kept for _, link in links)

    load = Load(daemon.port, rate=200)
    eventually(lambda: load.answers >= 200)
    load.stop()
    base_rss, base_fds = daemon.rss_anon_kib(), held()
    load = Load(daemon.port, rate=250)
    streams = [start_stream(daemon) for _ in range(50)]
    for _ in range(10):
        daemon.upgrade()
        daemon.reload()
        so_far = load.answers
        eventually(lambda: load.answers >= so_far + 50)  # noqa: B023
    rate = load.stop()
    assert load.failures == []
    assert rate >= 200 / SLOW, f"only {rate:.0f} requests/s were asked"
    streamer.gate.set()
    for stream, answer in streams:
        stream.rest(answer)
        assert answer.events == [{"n": 1}, {"n": 2}, "[DONE]"]
        stream.close()
    old = daemon.pids[:-1]
    eventually(lambda: all(map(gone, old)), 20)
    eventually(lambda: held() <= base_fds + 2)
    assert daemon.rss_anon_kib() <= base_rss + 1024
    assert len(re.findall("upgrade: process", daemon.log)) == 20
    assert pathlib.Path(f"/proc/{daemon.pid}").exists()
