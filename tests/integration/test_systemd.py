"""What systemd and the daemon say to each other, and the shipped units."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import sandbox
import seccomp_filter
from ctl import stopped_thread
from daemon import DAEMON, ROOT, SLOW, TOKEN, clean_environment, eventually
from manager import Manager
from raw import Client, ask, chat, request

# Becomes the daemon with the descriptors argv[1] from 3 on, as systemd does.
ACTIVATE = [sys.executable, "-c", """
import os, sys
for at, fd in enumerate(eval(sys.argv[1])):
    os.dup2(fd, 3 + at, True)
os.environ["LISTEN_PID"] = str(os.getpid() + int(os.environ.get("OFF", 0)))
os.execv(sys.argv[2], sys.argv[2:])
"""]


def ok(_request, peer):
    peer.whole({"ok": 1})


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    name = (tmp_path / "notify" if request.param == "path"
            else f"@llm-proxyd-test-{os.getpid()}")
    made = Manager(name)
    yield made
    made.close()


# Notifications ----------------------------------------------------------------

@pytest.mark.threads
def test_its_life_is_told(proxy, manager):
    daemon, _ = proxy(ok, WORKERS=2, env={"NOTIFY_SOCKET": manager.name})
    first = manager.message()
    assert first == {"READY": "1", "MAINPID": str(daemon.pid),
                     "STATUS": "serving, 0 clients"}
    # A client finds it listening by then.
    assert ask(daemon.port, body=chat()).status == 200
    for good in True, False:
        if not good:
            daemon.write_config(MAX_BODY_BYTES="a lot")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        daemon.reload(good)
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        told = manager.message()
        assert told.pop("RELOADING") == "1"
        assert before <= int(told.pop("MONOTONIC_USEC")) <= after
        assert not told
        told = manager.message()
        assert told["READY"] == "1"
        state = "serving" if good else "serving, the reload failed"
        assert re.fullmatch(rf"{state}, [01] clients", told["STATUS"])
    daemon.signal(signal.SIGTERM)
    told = manager.message()
    assert told["STOPPING"] == "1"
    assert int(told["EXTEND_TIMEOUT_USEC"]) >= 5_000_000
    assert daemon.wait_exit() == 0


def test_a_long_drain_asks_for_time(proxy, manager):
    def handler(_request, peer):
        peer.sse_head()
        peer.sse({"n": 1})
        peer.wait_closed(20 * SLOW)

    daemon, behind = proxy(handler, env={"NOTIFY_SOCKET": manager.name})
    client = Client(daemon.port)
    client.send(request(body=chat(stream=True)))
    behind.wait_requests(1)
    daemon.signal(signal.SIGTERM)
    assert manager.wait("STOPPING")["STATUS"] == "draining, 1 clients"
    for _ in range(2):
        told = manager.wait("EXTEND_TIMEOUT_USEC")
        assert int(told["EXTEND_TIMEOUT_USEC"]) > 2_000_000
        assert "STOPPING" not in told
    client.close()
    assert daemon.wait_exit() == 0


def test_a_winch_is_told(proxy, manager):
    daemon, _ = proxy(ok, preexec=os.setsid,
                      env={"NOTIFY_SOCKET": manager.name})
    manager.wait("READY")
    daemon.signal(signal.SIGWINCH)
    assert manager.message()["STATUS"] == "accepting no more, 0 clients"


@pytest.mark.parametrize("name, words", [
    ("relative", "not an address of a unix socket"),
    ("/" + "x" * 200, "not an address of a unix socket"),
    ("/nonexistent/notify", "NOTIFY_SOCKET: No such file"),
])
def test_a_manager_that_is_not_there(proxy, name, words):
    daemon, _ = proxy(ok, env={"NOTIFY_SOCKET": name})
    assert words in daemon.log
    assert ask(daemon.port, body=chat()).status == 200


# The watchdog -----------------------------------------------------------------

@pytest.mark.threads
@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_a_stuck_worker_starves_the_watchdog(proxy, manager, workers):
    period_ms = 100 * SLOW
    daemon, _ = proxy(ok, WORKERS=workers, env={
        "NOTIFY_SOCKET": manager.name,
        "WATCHDOG_USEC": str(2 * period_ms * 1000)})
    for _ in range(3):
        assert manager.wait("WATCHDOG")["STATUS"].startswith("serving, ")
    for name in {"worker 0", f"worker {workers - 1}"}:
        with stopped_thread(daemon.thread(name)):
            # What was answered before may still be told.
            manager.quiet("WATCHDOG", 2 * period_ms / 1000)
            assert manager.quiet("WATCHDOG", 5 * period_ms / 1000)
            daemon.wait_log("a worker does not turn: the watchdog is not fed")
        for _ in range(2):
            manager.wait("WATCHDOG")


@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_another_process_watchdog(proxy, manager):
    proxy(ok, env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "100000",
                   "WATCHDOG_PID": str(os.getpid())})
    manager.wait("READY")
    assert manager.quiet("WATCHDOG", 0.5)


# Socket activation ------------------------------------------------------------

def activated(proxy, sockets, names=None, **named):
    numbers = [each.fileno() for each in sockets]
    env = {"LISTEN_FDS": str(len(sockets)), **named.pop("env", {})}
    if names is not None:
        env["LISTEN_FDNAMES"] = names
    return proxy(ok, before=[*ACTIVATE, repr(numbers)], pass_fds=numbers,
                 env=env, **named)[0]


@pytest.mark.parametrize("names", [
    None, "http:http", "llm-proxyd.socket:unknown", ":"])
def test_sockets_that_are_passed_are_served(proxy, tmp_path, names):
    unix = str(tmp_path / "http")
    with (socket.create_server(("127.0.0.1", 0)) as tcp,
          socket.socket(socket.AF_UNIX) as local):
        local.bind(unix)
        local.listen()
        port = tcp.getsockname()[1]
        daemon = activated(proxy, [tcp, local], names, preexec=os.setsid,
                           LISTEN=f"unix:{tmp_path}/not-used")
        assert (f"listening on 127.0.0.1:{port}, bound by the service "
                "manager\n") in daemon.log
        assert f"listening on unix:{unix}, bound by" in daemon.log

        def works():
            assert ask(port, body=chat()).status == 200
            with Client(None, unix=unix) as client:
                assert client.ask(body=chat()).status == 200

        works()
        assert not (tmp_path / "not-used").exists()
        daemon.write_config(LISTEN=f"unix:{tmp_path}/neither")
        daemon.reload()
        works()
        assert not (tmp_path / "neither").exists()
        # They are not ours to close: who comes now waits.
        daemon.signal(signal.SIGWINCH)
        daemon.wait_log("accepting no more")
        with Client(port) as waiting:
            daemon.reload()
            assert waiting.ask(body=chat()).status == 200
        daemon.stop()
        assert os.path.exists(unix)


def test_sockets_that_are_passed_outlive_an_upgrade(proxy):
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        port = tcp.getsockname()[1]
        daemon = activated(proxy, [tcp], "http")
        for _ in range(2):
            daemon.upgrade()
            assert ask(port, body=chat()).status == 200
        assert daemon.log.count(f"127.0.0.1:{port}, bound by") == 3
        daemon.stop()


def test_sockets_of_another_process_are_left_alone(proxy):
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        daemon = activated(proxy, [tcp], env={"OFF": "1"})
        assert "bound by the service manager" not in daemon.log
        assert ask(daemon.port, body=chat()).status == 200


@pytest.mark.parametrize("names, words", [
    ("admin", "nothing is known of a socket named admin: it may be http"),
    ("http", "LISTEN_FDS: descriptor 3 is not a stream socket that listens"),
])
def test_what_is_of_no_use_is_named(proxy, names, words):
    with socket.socket() as unbound, \
            socket.create_server(("127.0.0.1", 0)) as tcp:
        with pytest.raises(AssertionError, match=words):
            activated(proxy, [tcp if names == "admin" else unbound], names)


def test_systemd_socket_activate(proxy, tmp_path):
    """The real one, which starts the daemon with the first client."""
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        pytest.skip("systemd-socket-activate is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = tmp_path / "c.conf"
    config.write_text(f"LISTEN=unix:{tmp_path}/not-used\nTOKENS_JSON="
                      f'[{{"token":"{TOKEN}","label":"a"}}]\n')
    log = tmp_path / "log"
    with log.open("w") as stderr, subprocess.Popen(
            [activate, "-l", f"127.0.0.1:{port}", "--fdname=http", DAEMON,
             "-c", config], stderr=stderr, env=clean_environment()) as process:
        try:
            eventually(lambda: "Listening on" in log.read_text())
            assert ask(port, "/healthz").status == 200
            assert f"127.0.0.1:{port}, bound by" in log.read_text()
        finally:
            process.terminate()
        assert process.wait(10 * SLOW) == 0


# The shipped units ------------------------------------------------------------

@pytest.fixture
def units(tmp_path):
    """Both, with the daemon that was built."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for path in pathlib.Path(ROOT, "contrib/systemd").iterdir():
        text = path.read_text()
        (tmp_path / path.name).write_text(
            text.replace("/usr/local/sbin/llm-proxyd", DAEMON))
    return tmp_path


def analyze(*arguments):
    done = subprocess.run(["systemd-analyze", "--no-pager", *arguments],
                          text=True, capture_output=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_units_are_sound(units):
    code, text = analyze("verify", "--man=no", *sorted(units.iterdir()))
    assert (code, text) == (0, "")


def test_the_service_is_hardened(units):
    service = units / "llm-proxyd.service"
    code, text = analyze("security", "--offline=true", "--threshold=15",
                         service)
    assert code == 0, text
    service.write_text(service.read_text().replace("ProtectSystem=strict", "")
                       .replace("PrivateUsers=yes", "")
                       .replace("NoNewPrivileges=yes", ""))
    assert analyze("security", "--offline=true", "--threshold=15",
                   service)[0] != 0


def test_the_sandbox_of_tests_is_the_units():
    """Each directive is applied there, or left out for a reason."""
    unit = seccomp_filter.read_unit(f"{ROOT}/contrib/systemd/"
                                    "llm-proxyd.service")
    calls = set(seccomp_filter.RESTRICTIONS) | set(seccomp_filter.READ)
    tables = [set(sandbox.APPLIED), set(sandbox.LEFT_OUT), calls]
    assert set(unit) == set().union(*tables)
    assert sum(map(len, tables)) == len(unit)
    for function in sandbox.APPLIED.values():
        assert callable(getattr(sandbox, function))
    assert all(unit[name] == ["yes"] for name in seccomp_filter.RESTRICTIONS)
    # What is not "yes" has a value that sandbox.py was written for.
    assert {name: unit[name] for name in sandbox.APPLIED
            if unit[name] != ["yes"]} == {
        "CapabilityBoundingSet": [""], "KeyringMode": ["private"],
        "ProcSubset": ["pid"], "ProtectProc": ["invisible"],
        "ProtectSystem": ["strict"], "UMask": ["0077"]}


BUILD = os.environ.get("LLM_PROXY_BUILD", f"{ROOT}/build/release")
PROBE = """
import ctypes, os, socket, sys
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
for name in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
    assert int(status[name], 16) == 0, name
assert status["NoNewPrivs"] == "1\\n" and status["Seccomp"] == "2\\n"
assert os.umask(0) == 0o077
assert open("/proc/self/uid_map").read().split() == ["0", "0", "1"]
assert not os.path.exists("/proc/sys")
assert set(os.listdir("/dev")) == {"null", "zero", "full", "random",
                                   "urandom", "tty"}
libc = ctypes.CDLL(None, use_errno=True)

def refused(number, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == number, error
    else:
        raise AssertionError(call)

def in_libc(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)

EPERM, EACCES, EROFS = 1, 13, 30
refused(EROFS, open, "/usr/probe", "w")
refused(EACCES, os.listdir, "/home")
refused(EPERM, os.chmod, sys.argv[1], 0o4755)
refused(EPERM, os.setpriority, os.PRIO_PROCESS, 0, 1)
refused(EPERM, socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)
refused(EPERM, in_libc, "mprotect", None, 0, 4)
refused(EPERM, in_libc, "personality", 8)
refused(EPERM, in_libc, "sethostname", b"x", 1)
refused(EPERM, in_libc, "unshare", 0x10000000)
socket.create_server(("127.0.0.1", 0)).close()
open(sys.argv[1], "w").close()
"""


@pytest.mark.sandbox
def test_the_sandbox_takes_what_it_says(tmp_path):
    harness = pathlib.Path(ROOT, "tests/harness")
    unit = f"{ROOT}/contrib/systemd/llm-proxyd.service"
    subprocess.run([sys.executable, harness / "seccomp_filter.py", unit,
                    tmp_path / "calls"], check=True)
    (tmp_path / "file").touch()

    def run(*words):
        return subprocess.run(
            [sys.executable, "-I", harness / "sandbox.py", tmp_path / "calls",
             tmp_path, *words], text=True, capture_output=True, check=False,
            env=clean_environment())
    probe = run(sys.executable, "-c", PROBE, tmp_path / "file")
    assert probe.returncode == 0, probe.stderr
    # And the daemon is content.
    config = tmp_path / "c.conf"
    config.write_text(f'TOKENS_JSON=[{{"token":"{TOKEN}","label":"a"}}]\n')
    good = run(f"{BUILD}/src/llm-proxyd", "-t", "-c", config)
    assert good.returncode == 0, good.stderr
