"""Runs llm-proxyctl, and speaks to the control socket without it."""

import ctypes
import json
import os
import pathlib
import socket
import subprocess
from contextlib import contextmanager

from daemon import (DAEMON, REPORT, SLOW, clean_environment,
                    eventually)

CTL = str(pathlib.Path(DAEMON).parent / "llm-proxyctl")


class Done:
    """What came of one command."""

    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr
        assert not REPORT.search(self.err), self.err

    @property
    def json(self):
        return json.loads(self.out)


def run_ctl(*arguments, env=None, program=CTL, **named):
    return Done(subprocess.run(
        [program, *map(str, arguments)], env=clean_environment(**(env or {})),
        text=True, capture_output=True, timeout=20 * SLOW, **named))


def ctl(daemon, *arguments):
    return run_ctl("-c", daemon.config, *arguments)


def ask_json(daemon, *words):
    """The document of a command that must go well."""
    done = ctl(daemon, "--json", *words)
    assert done.code == 0, done.err
    return done.json


def control_client(daemon):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10 * SLOW)
    client.connect(str(daemon.settings["CONTROL_SOCKET"]))
    return client


def rest(client):
    """All that comes to the end."""
    got = b""
    while data := client.recv(65536):
        got += data
    return got


@contextmanager
def stopped_thread(tid):
    """One thread of a process stands still; the others run. It is stopped while
    it sleeps: at work it may hold a lock of libc's that the others need."""
    seize, interrupt, detach, all_threads = 0x4206, 0x4207, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p,
                            ctypes.c_void_p]

    def ptrace(what):
        if libc.ptrace(what, tid, None, None) == -1:
            raise OSError(ctypes.get_errno(), f"ptrace {what:#x}")

    def asleep():
        stat = pathlib.Path(f"/proc/{tid}/stat").read_text(encoding="ascii")
        return stat.rpartition(") ")[2].startswith("S")

    ptrace(seize)
    eventually(asleep)
    ptrace(interrupt)
    os.waitpid(tid, all_threads)
    try:
        yield
    finally:
        ptrace(detach)
