"""Starts and watches a real llm-proxyd for a test."""

import ctypes
import json
import os
import pathlib
import re
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DAEMON = os.environ.get("LLM_PROXYD", str(ROOT / "build/llm-proxyd-test"))
TOKEN = "demo-key-123"
SETTLE = "settle"  # the id of requests that only wait for the loop
# Sanitizer builds are several times slower; deadlines of tests, not of the
# daemon, are multiplied by this.
SLOW = 5 if re.search(r"build/(asan|tsan)/", DAEMON) else 1
REPORT = re.compile(r"ERROR: AddressSanitizer|LeakSanitizer|runtime error:"
                    r"|WARNING: ThreadSanitizer")


def clean_environment(**extra):
    """Settings in the caller's environment would win over the file."""
    kept = {name: value for name, value in os.environ.items()
            if name == "PATH" or name.endswith("SAN_OPTIONS")}
    return {**kept, **extra}


def as_one_of_many():
    """For preexec_fn: limits hold and low ports are out of reach, as for
    anyone but root, whose files stay within reach."""
    if os.geteuid() != 0:
        return
    drop_from_bounding_set = 24
    net_bind, sys_admin, sys_resource = 10, 21, 24
    for capability in net_bind, sys_admin, sys_resource:
        ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)
    # A user of its own, whose processes are counted from zero.
    os.setresuid(10_000 + os.getpid() % 50_000, 0, 0)


def run_daemon(*arguments, env=None, cwd=None, preexec=None, program=DAEMON):
    """Runs it to its end, as for -t: (exit code, stdout, stderr)."""
    done = subprocess.run([program, *map(str, arguments)], cwd=cwd,
                          env=clean_environment(**(env or {})), text=True,
                          capture_output=True, timeout=20 * SLOW,
                          preexec_fn=preexec)
    assert not REPORT.search(done.stderr), done.stderr
    return done.returncode, done.stdout, done.stderr


def gone(pid):
    """It has ended; nobody may be there to reap it."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text.rsplit(")", 1)[1].split()[0] in "ZX"


def eventually(truth, seconds=10):
    end = time.monotonic() + seconds * SLOW
    while not truth():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


class Daemon:
    """One llm-proxyd with a configuration file of its own.

    Settings are keyword arguments; LISTEN is 127.0.0.1:0 and TOKENS_JSON has
    the one token TOKEN unless they are given. None leaves a setting out.
    `arguments` follow -c on the command line, `before` is the command that
    becomes the daemon and gets the descriptors `pass_fds`, `program` what an
    upgrade starts again.
    """

    def __init__(self, folder, tokens=None, env=None, preexec=None,
                 names=None, arguments=(), before=(), pass_fds=(),
                 program=DAEMON, **settings):
        self.folder = pathlib.Path(folder)
        self.config = self.folder / "llm-proxy.conf"
        self.log_path = self.folder / "stderr"
        self.clock_path = self.folder / "clock"
        self.names_path = self.folder / "names"
        self.access_path = self.folder / "access.log"
        self.clock_ms = 0
        self.successors = []  # of self.process, by upgrades
        self.advance(0)
        self.set_names(names or {})
        self.settings = {
            "LISTEN": "127.0.0.1:0",
            "WORKERS": 2,
            "OLLAMA_BASE_URL": "http://127.0.0.1:1",
            "VLLM_BASE_URL": "http://127.0.0.1:1",
            "ACCESS_LOG": self.access_path,
            "TOKENS_JSON": json.dumps(
                tokens or [{"token": TOKEN, "label": "demo"}]),
            **settings,
        }
        self.write_config()
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [*before, str(program), "-c", str(self.config),
                 *map(str, arguments)],
                stderr=log, stdin=subprocess.DEVNULL, preexec_fn=preexec,
                pass_fds=pass_fds,
                env=clean_environment(
                    LLM_PROXY_CLOCK_FILE=str(self.clock_path),
                    LLM_PROXY_NAMES_FILE=str(self.names_path), **(env or {})))
        self.wait_log(r" ready, ")
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log)
        self.port = int(found[1]) if found else None

    @property
    def pid(self):
        return self.pids[-1]

    @property
    def pids(self):
        """Of all processes there were, the newest last."""
        return [self.process.pid, *self.successors]

    @property
    def log(self):
        return self.log_path.read_text()

    @property
    def access(self):
        """The access log's lines as dictionaries, but for settle()'s."""
        lines = []
        if self.access_path.exists():
            for line in self.access_path.read_text().splitlines():
                if f" id={SETTLE} " not in line:
                    lines.append(
                        dict(re.findall(r'(\w+)=("[^"]*"|\S+)', line)))
        return lines

    def wait_access(self, count=1, seconds=5):
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            if len(self.access) >= count:
                return self.access
            time.sleep(0.02)
        raise AssertionError(f"{len(self.access)} of {count} access lines")

    def write_config(self, **changes):
        """Changes settings in the file; reload() makes them count."""
        self.settings.update(changes)
        self.config.write_text("".join(
            f"{name}={value}\n" for name, value in self.settings.items()
            if value is not None))
        self.config.chmod(0o600)

    def wait_log(self, pattern, seconds=15, times=1):
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            if len(re.findall(pattern, self.log)) >= times:
                return
            if gone(self.pid):
                break
            time.sleep(0.01)
        raise AssertionError(f"no {pattern!r} in the log:\n{self.log}")

    def signal(self, number):
        if self.successors:
            os.kill(self.pid, number)
        else:
            self.process.send_signal(number)

    def upgrade(self, good=True):
        """Another process takes over, or cannot."""
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
        pattern = r"ready, |upgrade failed: "
        before = len(re.findall(pattern, self.log))
        self.signal(signal.SIGUSR2)
        # The old process may have ended by then.
        eventually(lambda: len(re.findall(pattern, self.log)) > before, 40)
        last = re.findall(pattern, self.log)[-1]
        assert last.startswith("ready") == good, self.log
        if good:
            self.successors.append(int(re.findall(
                r"upgrade: process (\d+) takes over", self.log)[-1]))

    def reload(self, good=True):
        pattern = r"reloaded, |reload failed"
        before = len(re.findall(pattern, self.log))
        self.signal(signal.SIGHUP)
        self.wait_log(pattern, times=before + 1)
        last = re.findall(pattern, self.log)[-1]
        assert last.startswith("reloaded") == good, self.log

    def freeze(self):
        """It runs no more when this returns, but is there."""
        self.signal(signal.SIGSTOP)
        while any(state != "T" for state, _ in self.threads().values()):
            time.sleep(0.01)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def advance(self, ms):
        """Moves the daemon's clock; the file is never seen half written."""
        self.clock_ms += ms
        following = self.clock_path.with_suffix(".next")
        following.write_text(f"{self.clock_ms}\n")
        following.replace(self.clock_path)

    def set_names(self, names):
        """What hosts' names mean to the daemon; an address of ... is one
        that the name server does not say for now."""
        following = self.names_path.with_suffix(".next")
        following.write_text("".join(f"{name} {address}\n"
                                     for name, address in names.items()))
        following.replace(self.names_path)

    def set_clock(self, ms):
        self.advance(ms - self.clock_ms)

    def rss_anon_kib(self):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", text)[1])

    def thread(self, name):
        """The kernel's number of the thread with that name, which it gives
        itself: that may be after the daemon is ready."""
        found = []

        def named():
            found[:] = [task for task in
                        pathlib.Path(f"/proc/{self.pid}/task").iterdir()
                        if (task / "comm").read_text() == f"{name}\n"]
            return found

        eventually(named)
        (task,) = found
        return int(task.name)

    def threads(self):
        """The kernel's numbers of each thread: (state, CPU seconds)."""
        found = {}
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            try:
                stat = (task / "stat").read_text().rsplit(")", 1)[1]
                spent = (task / "schedstat").read_text().split()[0]
            except OSError:
                continue  # it has ended
            found[task.name] = stat.split()[0], int(spent) / 1e9
        return found

    def cpu_share(self, seconds):
        """How much of one core it takes from now on."""
        before = sum(spent for _, spent in self.threads().values())
        began = time.monotonic()
        time.sleep(seconds)
        after = sum(spent for _, spent in self.threads().values())
        return (after - before) / (time.monotonic() - began)

    def check_idle(self):
        """Fails if it burns CPU. Waits only for one that looks busy: a loop
        that spins never sleeps."""
        shares = []
        while any(state == "R" for state, _ in self.threads().values()):
            shares.append(self.cpu_share(0.2))
            if shares[-1] < 0.2:
                return
            assert len(shares) < 10 * SLOW, f"busy while idle: {shares}"

    def wait_exit(self, seconds=15):
        """The first process' exit code, when all have ended."""
        eventually(lambda: all(map(gone, self.successors)), seconds)
        for pid in self.successors:
            try:
                status = os.waitpid(pid, os.WNOHANG)[1]
            except ChildProcessError:
                continue  # its predecessor, which lived, has seen it
            assert status == 0, f"{pid}: wait status {status}\n{self.log}"
        self.successors.clear()
        return self.process.wait(seconds * SLOW)

    def stop(self):
        """Ends it if it still runs; whatever happened, it must have been
        clean."""
        if self.process.poll() is None or self.successors:
            try:
                self.check_idle()
            finally:
                self.signal(signal.SIGINT)
            try:
                self.wait_exit()
            except (subprocess.TimeoutExpired, AssertionError):
                for pid in self.pids:
                    if not gone(pid):
                        os.kill(pid, signal.SIGKILL)
                self.process.wait()
                raise AssertionError(f"did not end:\n{self.log}") from None
        assert not REPORT.search(self.log), self.log
        assert self.process.returncode == 0, (
            f"exit {self.process.returncode}\n{self.log}")
