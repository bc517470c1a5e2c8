"""Debian's nginx with the files of nginx/ as they are shipped.

Only what nginx.conf says that a site changes is changed here: addresses, the
certificate, user, pid and logs. Temporary folders are the test's own, and all
timeouts may be scaled alike."""

import getpass
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

from daemon import ROOT, SLOW, clean_environment
from raw import Client, ask

SHIPPED = ROOT / "nginx"
SHAPES = ("front", "oracle", "redirect")
LISTEN = "        listen 443 ssl http2;\n        server_name {}.example;\n"
PATH = os.environ["PATH"] + ":/usr/sbin"


def make_certificate(folder):
    """A key and a certificate for it, for this machine only."""
    certificate, key = folder / "tls.pem", folder / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True)
    return certificate, key


def need(tool):
    """Its path, or a named skip."""
    found = shutil.which(tool, path=PATH)
    if not found:
        import pytest  # the benchmark, which finds it, has none
        pytest.skip(f"{tool} is not installed")
    return found


def replaced(text, old, new):
    assert old in text, old
    return text.replace(old, new)


class Nginx:
    """One nginx; port[SHAPE], tls[SHAPE] and unix[SHAPE] are addresses of its
    servers."""

    def __init__(self, proxy, vllm, scale=None, edit=None, core=None):
        """`proxy` is the daemon's socket file, `vllm` an address; `scale` is
        what a shipped second becomes, in ms. `edit` may change the text of
        proxy.conf, as a site may. With `core` one worker runs there."""
        need("nginx")
        # Not pytest's, whose names are too long for socket files.
        self.folder = folder = pathlib.Path(tempfile.mkdtemp(prefix="llmp-"))
        # Handed over already listening, as for an upgrade of nginx: a port
        # that is only looked for may be another's by the time it is used.
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=511)
                        for _ in 2 * SHAPES]
        for each in self.sockets:
            # nginx trusts its forerunner with it; in a worker that another
            # was quicker than, accept would block all else for good.
            each.setblocking(False)
        ports = [each.getsockname()[1] for each in self.sockets]
        self.port = dict(zip(SHAPES, ports))
        self.tls = dict(zip(SHAPES, ports[len(SHAPES):]))
        self.unix = {shape: f"{folder}/{shape}.sock" for shape in SHAPES}
        self.log_path = self.folder / "error.log"
        self.access_path = self.folder / "access.log"
        shutil.copytree(SHIPPED, self.folder / "nginx")
        self.config = self.folder / "nginx/nginx.conf"
        self.certificate, key = make_certificate(self.folder)
        self._change("nginx.conf", {
            "user www-data;": f"user {getpass.getuser()};",
            "/run/nginx.pid": f"{folder}/pid",
            "/var/log/nginx/error.log": str(self.log_path),
            "/var/log/nginx/llm-proxy.log": str(self.access_path),
            "/etc/ssl/certs/llm-proxy.pem": str(self.certificate),
            "/etc/ssl/private/llm-proxy.key": str(key),
            "http {\n": "http {\n" + "".join(
                f"    {kind}_temp_path {folder}/{kind};\n" for kind in
                ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
            **{LISTEN.format(shape): self._listen(shape) for shape in SHAPES},
        })
        self._change("llm-proxy/http.conf", {
            "unix:/run/llm-proxy/http.sock": f"unix:{proxy}",
            "127.0.0.1:8000": vllm})
        if edit:
            self._rewrite("llm-proxy/proxy.conf", edit)
        if scale:
            # But for how long a decision may take, which is no model's time.
            for path in ("nginx.conf", "llm-proxy/proxy.conf"):
                self._rewrite(path, lambda text: re.sub(
                    r"(_timeout) (\d+)s;",
                    lambda found: f"{found[1]} {int(found[2]) * scale:.0f}ms;",
                    text))
        self.core = core
        if core is not None:
            self._change("nginx.conf", {"worker_processes auto;":
                                        "worker_processes 1;"})
        self.process = None
        try:
            self.start()
        except AssertionError:
            shutil.rmtree(self.folder)
            raise

    def _listen(self, shape):
        return (f"        listen 127.0.0.1:{self.port[shape]};\n"
                f"        listen 127.0.0.1:{self.tls[shape]} ssl http2;\n"
                f"        listen unix:{self.unix[shape]};\n"
                f"        server_name {shape}.example;\n")

    def _rewrite(self, name, change):
        path = self.folder / "nginx" / name
        path.write_text(change(path.read_text()))

    def _change(self, name, changes):
        for old, new in changes.items():
            self._rewrite(name, lambda text, a=old, b=new: replaced(text, a, b))

    def start(self):
        descriptors = [each.fileno() for each in self.sockets]
        self.process = subprocess.Popen(
            [need("nginx"), "-c", self.config, "-e", self.log_path, "-g",
             "daemon off;"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=descriptors, preexec_fn=self._pin,
            env={**clean_environment(),
                 "NGINX": "".join(f"{fd};" for fd in descriptors)})
        end = time.monotonic() + 10 * SLOW
        while not (self.folder / "pid").exists():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise AssertionError(self.log)
            time.sleep(0.01)

    def _pin(self):
        if self.core is not None:
            os.sched_setaffinity(0, {self.core})

    @property
    def log(self):
        return self.log_path.read_text()

    def wait_access(self, pattern, seconds=5):
        """The first line of the access log that matches."""
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            for line in self.access_path.read_text().splitlines():
                if re.search(pattern, line):
                    return line
            time.sleep(0.02)
        raise AssertionError(self.access_path.read_text())

    @property
    def access(self):
        """The access log's lines as dictionaries."""
        return [json.loads(line) for line in
                self.access_path.read_text().splitlines()]

    def stop_process(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10 * SLOW)

    def stop(self):
        self.stop_process()
        for each in self.sockets:
            each.close()
        # All that is worse than an error, but for a daemon that is down, and
        # a worker that took too long to end: nginx gives it a second.
        bad = [line for line in self.log.splitlines()
               if re.search(r"\[(alert|crit|emerg)\]", line)
               and "connect() to unix:" not in line
               and "exited on signal 9" not in line]
        shutil.rmtree(self.folder)
        assert not bad, "\n".join(bad)


class Site:
    """nginx before a daemon of its own; `behind` is Ollama and vLLM alike."""

    def __init__(self, make_daemon, behind):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="llmp-"))
        self.make_daemon = make_daemon
        self.behind = behind
        self.socket = f"{self.folder}/http.sock"
        self.daemon = self.nginx = None

    def start(self, scale=None, edit=None, **settings):
        behind = self.behind
        self.daemon = self.make_daemon(**{
            "LISTEN": f"unix:{self.socket},127.0.0.1:0",
            "ACCEL_REDIRECT": "all", "OLLAMA_BASE_URL": behind.url,
            "VLLM_BASE_URL": behind.url, **settings})
        self.nginx = Nginx(self.socket, f"127.0.0.1:{behind.port}", scale,
                           edit)

    def ask(self, shape, *arguments, **named):
        return ask(self.nginx.port[shape], *arguments, **named)

    def client(self, shape, unix=False, **named):
        """A connection to one of nginx's servers."""
        return Client(self.nginx.port[shape],
                      unix=self.nginx.unix[shape] if unix else None, **named)

    def straight(self, number=-1):
        """Whether nginx itself sent that request to the backend."""
        return self.behind.requests[number].header("X-Real-IP") is not None

    def stop(self):
        shutil.rmtree(self.folder)
        if self.nginx:
            self.nginx.stop()
