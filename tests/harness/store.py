"""A real redis-server of the test's own, and one that lies."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from daemon import ROOT, SLOW


def find_server():
    """Redis or Valkey, whichever is there."""
    named = os.environ.get("REDIS_SERVER")
    known = ("redis-server", "valkey-server")
    return named or next(filter(shutil.which, known), known[0])


def script():
    """The script as the daemon loads it."""
    text = (ROOT / "src/limit/redis_script.h").read_text()
    return re.search(r'R"lua\((.*?)\)lua"', text, re.S)[1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pack(words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class RedisError(Exception):
    pass


def read_value(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        return RedisError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        size = int(rest)
        return None if size < 0 else stream.read(size + 2)[:-2].decode()
    if kind == b"*":
        return [read_value(stream) for _ in range(int(rest))]
    return rest.decode()


class Link:
    """One connection to a server, by its socket file."""

    def __init__(self, path, timeout=20):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout * SLOW)
        self.sock.connect(str(path))
        self.stream = self.sock.makefile("rb")

    def send(self, *words):
        self.sock.sendall(pack(words))

    def read(self):
        value = read_value(self.stream)
        if isinstance(value, RedisError):
            raise value
        return value

    def ask(self, *words):
        self.send(*words)
        return self.read()

    def close(self):
        self.stream.close()
        self.sock.close()


class Redis:
    """A server on a port and a socket file; settings as redis.conf has them,
    with _ for -. With an identity (certs.py) the port speaks TLS."""

    def __init__(self, identity=None, **settings):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="llmp-"))
        self.path = self.folder / "sock"
        self.port = free_port()
        self.tls = identity is not None
        if self.tls:
            settings = {"tls_cert_file": identity.cert,
                        "tls_key_file": identity.key,
                        "tls_auth_clients": "no", **settings}
        self.settings = settings
        self.password = settings.get("requirepass")
        self.process = None
        self.start()

    @property
    def url(self):
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self):
        return f"unix://{self.path}"

    def start(self):
        lines = {"port": 0, "tls-port" if self.tls else "port": self.port,
                 "bind": "127.0.0.1", "save": '""',
                 "unixsocket": self.path, "dir": self.folder,
                 "logfile": self.folder / "log", "appendonly": "no",
                 **{name.replace("_", "-"): value
                    for name, value in self.settings.items()}}
        config = self.folder / "redis.conf"
        config.write_text("".join(f"{name} {value}\n"
                                  for name, value in lines.items()))
        self.process = subprocess.Popen(
            [find_server(), str(config)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10 * SLOW
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, EOFError, RedisError):
                if self.ask("PING") == "PONG":
                    return
            time.sleep(0.01)
        raise AssertionError((self.folder / "log").read_text())

    def link(self):
        link = Link(self.path)
        if self.password:
            link.ask("AUTH", self.password)
        return link

    def ask(self, *words):
        link = self.link()
        try:
            return link.ask(*words)
        finally:
            link.close()

    def wait_field(self, key, field, value):
        """Waits for a daemon's last words to arrive."""
        end = time.monotonic() + 5 * SLOW
        while self.ask("HGET", key, field) != str(value):
            assert time.monotonic() < end, self.ask("HGETALL", key)
            time.sleep(0.01)

    def keys(self):
        return self.ask("KEYS", "*")

    def calls(self, command):
        """How often a command was run."""
        found = re.search(rf"^cmdstat_{command}:calls=(\d+)",
                          self.ask("INFO", "commandstats"), re.M)
        return int(found[1]) if found else 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process.poll() is None:
            self.thaw()
            self.kill()
        shutil.rmtree(self.folder)


class FakeRedis:
    """Speaks as `answer` says: it gets a command's words and returns the
    bytes of the reply, or None for what a server without a mind of its own
    would say. It grants whatever it is asked. With an ssl.SSLContext it
    speaks TLS."""

    GRANT = b"*8\r\n:1\r\n:0\r\n:%d\r\n:60000\r\n:%d\r\n:3600000\r\n" \
            b":1700000000000\r\n:19675\r\n"

    def __init__(self, answer=lambda words: None, context=None):
        self.answer = answer
        self.context = context
        self.commands = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def count(self, command):
        return sum(words[0] == command for words in list(self.commands))

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,),
                                 daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError, EOFError, ValueError):
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
            stream = sock.makefile("rb")
            while True:
                words = read_value(stream)
                self.commands.append(words)
                reply = self.answer(words)
                if reply is None:
                    reply = self.usual(words)
                sock.sendall(reply)
                if reply == b"":
                    break
        sock.close()

    def usual(self, words):
        if words[0] == "SCRIPT":
            return b"$40\r\n" + b"a" * 40 + b"\r\n"
        if words[0] in ("EVAL", "EVALSHA"):
            rpm, rpd = int(words[5]), int(words[6])
            return self.GRANT % (rpm - 1 if rpm else -1,
                                 rpd - 1 if rpd else -1)
        return b"+PONG\r\n" if words[0] == "PING" else b"+OK\r\n"

    def stop(self):
        self.listener.close()
