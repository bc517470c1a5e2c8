"""llm-proxyctl top in a terminal: drawn, redrawn, left as it was found."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest
from ctl import CTL, ask_json
from daemon import SLOW, clean_environment
from raw import Client, chat, request

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


class Terminal:
    """A terminal of so many rows and columns, with top in it."""

    def __init__(self, daemon, rows=24, columns=100):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.found = termios.tcgetattr(slave)
        self.seen = ""
        self.slave = slave
        self.process = subprocess.Popen(
            [CTL, "-c", str(daemon.config), "top"], stdin=slave, stdout=slave,
            stderr=slave, start_new_session=True, env=clean_environment(),
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def wait(self, pattern, seconds=10):
        """Reads until the pattern was seen; forgets what came before."""
        end = time.monotonic() + seconds * SLOW
        while not (found := re.search(pattern, self.seen, re.S)):
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65536).decode()
        self.seen = self.seen[found.end():]
        return found[0]

    def end(self):
        """Its exit code; the terminal must be as it was."""
        code = self.process.wait(10 * SLOW)
        assert termios.tcgetattr(self.slave) == self.found
        os.close(self.slave)
        os.close(self.master)
        return code


@pytest.fixture
def streaming(proxy, tmp_path):
    """A daemon with one stream under way, and the gate that ends it."""
    gate = threading.Event()

    def handler(_got, peer):
        peer.sse_head()
        peer.sse({"n": 1})
        while not gate.is_set():
            peer.pause(0.01)
        peer.sse("[DONE]")
        peer.end()

    daemon, _ = proxy(handler, CONTROL_SOCKET=tmp_path / "control.sock",
                      WORKERS=1)
    with Client(daemon.port) as client:
        client.send(request(body=chat(model="vllm:\u009b\u009dmodel",
                                      stream=True)))
        client.chunk(client.head())
        yield daemon, gate
        gate.set()


def test_it_shows_and_goes_with_q(streaming):
    daemon, gate = streaming
    terminal = Terminal(daemon)
    terminal.wait(re.escape(ENTER))
    drawn = terminal.wait(r"1 requests running.*LABEL.*demo.*AGE.*demo "
                          r".*model.*q quits")
    # But for its own sequences nothing but text.
    plain = re.sub(r"\x1b\[(H|2K)|\r\n", "", drawn)
    assert plain.isascii() and plain.isprintable(), plain
    assert r"\xc2\x9b\xc2\x9dmodel" in plain
    gate.set()
    terminal.wait(r"0 requests running.*nothing is running.*q quits")
    terminal.type("xq")
    terminal.wait(re.escape(LEAVE) + "$")
    assert terminal.end() == 0


@pytest.mark.parametrize("how", ["^C", "TERM", "hangup"])
def test_it_leaves_the_terminal_as_it_was(streaming, how):
    daemon, _ = streaming
    terminal = Terminal(daemon)
    terminal.wait("q quits")
    if how == "^C":
        terminal.type("\x03")
    else:
        terminal.process.send_signal(signal.SIGTERM if how == "TERM"
                                     else signal.SIGHUP)
    terminal.wait(re.escape(LEAVE) + "$")
    assert terminal.end() == 0


def test_it_follows_the_window(streaming):
    daemon, _ = streaming
    terminal = Terminal(daemon, rows=24, columns=100)
    terminal.wait("q quits")
    terminal.resize(6, 20)
    small = terminal.wait("\x1b\\[H\x1b\\[2Kllm-proxyd [^q]*q quits")
    lines = re.sub("\x1b\\[(H|2K)", "", small).split("\r\n")
    assert len(lines) == 6
    assert max(map(len, lines)) <= 20
    terminal.type("q")
    assert terminal.end() == 0


def test_it_can_be_stopped_and_continued(streaming):
    daemon, _ = streaming
    terminal = Terminal(daemon)
    terminal.wait("q quits")
    terminal.process.send_signal(signal.SIGTSTP)
    terminal.wait(re.escape(LEAVE))
    os.waitpid(terminal.process.pid, os.WUNTRACED)
    assert termios.tcgetattr(terminal.slave) == terminal.found
    terminal.process.send_signal(signal.SIGCONT)
    terminal.wait(re.escape(ENTER) + ".*q quits")
    terminal.type("q")
    assert terminal.end() == 0


def test_it_says_why_it_ended(streaming):
    daemon, _ = streaming
    terminal = Terminal(daemon)
    terminal.wait("q quits")
    assert ask_json(daemon, "status")["pid"] == daemon.pid
    daemon.stop()
    # Whether it was asking at that moment or asks a moment later.
    terminal.wait(re.escape(LEAVE) + ".*(is the daemon running|"
                  "closed the connection without an answer|"
                  "broke the connection off)")
    assert terminal.end() == 69
