"""Who is measured: the proxies, each with its settings, the scripted backend
behind them and the load in front, started, pinned to their cores and ended."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/harness"))

# pylint: disable=wrong-import-position
from nginx import Nginx  # noqa: E402

TOKEN = "bench-key-123"
PIECES = 200
PACED_PIECES = 100
INTERVAL_MS = 50

# For measuring disturbed rows again, in one run.
SPARE_SECONDS = 90

NGINX, HAPROXY, DAEMON, DIRECT = "nginx", "HAProxy", "llm-proxyd", "direct"
# The daemon that takes the time of its loop's turns.
METERED = "llm-proxyd-test"
# The daemon that nginx asks.
ASKED = "llm-proxyd asked"
ASKING = "nginx asking llm-proxyd"
# One of many tokens that are replaced while it serves.
RELOADED = "llm-proxyd reloading"
# Beside the daemon with its memory the same one on Redis.
SHARED = "llm-proxyd on Redis"
# Beside the usual daemon others in one setting.
CROWDED = "llm-proxyd with many clients"
SCALED = "llm-proxyd with many clients and two workers"
TWO_WORKERS = "llm-proxyd with two workers"
MANY_TOKENS = "llm-proxyd with many tokens"
PYTHON = "FastAPI"
LITELLM = "LiteLLM"
# Where `make bench` puts what the reference needs.
PYTHON_OF_REFERENCE = ROOT / "build/bench-venv/bin/python"

# The same of LiteLLM, whose row is only measured when asked for.
LITELLM_PROGRAM = ROOT / "build/litellm-venv/bin/litellm"
START_SECONDS = {LITELLM: 60}

SEARCH = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"


class Failed(Exception):
    """A row has no number, and why."""


class Disturbed(Exception):
    """The same, but another try may do better."""


NGINX_CONF = """
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {dir}/nginx.pid;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_requests 1000000000;
    upstream backend {{
        server 127.0.0.1:{backend};
        keepalive 2048;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        client_max_body_size 0;
        location / {{
            proxy_pass http://backend;
            proxy_request_buffering off;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
        location = /empty {{ return 200; }}
    }}
}}
"""

HAPROXY_CONF = """
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
    option abortonclose
    option http-no-delay
    default_backend models
frontend clients
    bind 127.0.0.1:{port} backlog 4096
backend models
    server one 127.0.0.1:{backend}
"""

DAEMON_CONF = """
LISTEN=127.0.0.1:{port}
VLLM_BASE_URL=http://127.0.0.1:{backend}
OLLAMA_BASE_URL=http://127.0.0.1:{backend}
TOKENS_JSON=[{{"token":"{token}","label":"bench","rpm":1000000000,\
"rpd":1000000000}}]
WORKERS=1
MAX_CONNECTIONS=4096
ACCESS_LOG={dir}/access.log
"""


ASKED_CONF = DAEMON_CONF.replace("127.0.0.1:{port}",
                                 "127.0.0.1:{port},unix:{dir}/http.sock") + """
DEFAULT_BACKEND=vllm
"""
RELOADED_CONF = re.sub(r"TOKENS_JSON=(.|\n)*?]\n",
                       "TOKENS_FILE={dir}/tokens.json\n"
                       "CONTROL_SOCKET={dir}/control.sock\n", DAEMON_CONF)
CROWDED_CONF = DAEMON_CONF.replace("MAX_CONNECTIONS=4096",
                                   "MAX_CONNECTIONS=10000")
SCALED_CONF = CROWDED_CONF.replace("WORKERS=1", "WORKERS=2")
TWO_WORKERS_CONF = DAEMON_CONF.replace("WORKERS=1", "WORKERS=2")
# Our token, which is too short for it.
LITELLM_CONF = """
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: http://127.0.0.1:{backend}/v1
      api_key: none
general_settings:
  master_key: {token}
  dangerously_permit_weak_or_unset_master_key: true
"""
TOKENS = 10_000
SHARED_CONF = DAEMON_CONF + """
RATE_LIMIT_STORE=redis
REDIS_URL=redis://127.0.0.1:{redis}/0
REDIS_TIMEOUT=1s
RATE_LIMIT_ON_ERROR=deny
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def spawn(command, core, **kwargs):
    return subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}), **kwargs)


def stop(child, seconds=5):
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@dataclass
class Party:
    """A running proxy, or the backend itself (pid 0: no cost is taken)."""
    name: str
    port: int
    pid: int = 0
    start_kib: int = 0


@dataclass
class Bench:
    build: pathlib.Path
    daemon: pathlib.Path
    rounds: int
    seconds: float
    streams: int
    folder: pathlib.Path
    cores: list
    backend_port: int = 0
    redis_port: int = 0
    spare_seconds: float = SPARE_SECONDS

    def tool(self, name):
        return self.build / "tests" / "bench" / name

    def write_config(self, name, template, port):
        """The file of a proxy that listens there."""
        config = self.folder / f"{name}.conf"
        files = self.streams * 2 + 256
        # nginx closes who has not asked yet once a sixteenth is left.
        config.write_text(template.lstrip().format(
            port=port, backend=self.backend_port, dir=self.folder,
            token=TOKEN, redis=self.redis_port, files=files,
            connections=files + files // 8))
        config.chmod(0o600)
        return config

    def write_tokens(self, generation):
        """All but the one that asks are new each time."""
        tokens = [{"token": TOKEN, "label": "bench", "rpm": 1_000_000_000,
                   "rpd": 1_000_000_000}]
        tokens += [{"token": f"token-{generation}-{i}", "label": f"label-{i}",
                    "rpm": 60, "rpd": 1000} for i in range(TOKENS - 1)]
        path = self.folder / "tokens.json"
        path.write_text(json.dumps(tokens, indent=0))
        path.chmod(0o600)

    @contextlib.contextmanager
    def backend(self, interval_ms=INTERVAL_MS, pieces=PACED_PIECES,
                answer_ms=0):
        child = spawn([self.tool("bench_backend"), "--pieces", PIECES,
                       "--paced-pieces", pieces,
                       "--interval-ms", interval_ms,
                       "--answer-ms", answer_ms],
                      self.cores[1], stdout=subprocess.PIPE, text=True)
        try:
            self.backend_port = int(child.stdout.readline())
            yield
        finally:
            stop(child)

    @contextlib.contextmanager
    def redis(self):
        """Beside the backend, on the other core."""
        self.redis_port = free_port()
        server = (shutil.which("redis-server", path=SEARCH)
                  or "valkey-server")
        child = spawn([server, "--port", self.redis_port, "--bind",
                       "127.0.0.1", "--save", "", "--dir", self.folder],
                      self.cores[1], stdout=subprocess.DEVNULL)
        try:
            wait_for(self.redis_port, child, pathlib.Path("/dev/null"))
            yield
        finally:
            stop(child)

    @contextlib.contextmanager
    def asking(self):
        """nginx as shipped and a daemon, both on the core of proxies."""
        with self.party(ASKED):
            nginx = Nginx(self.folder / "http.sock",
                          f"127.0.0.1:{self.backend_port}",
                          core=self.cores[0])
            try:
                yield Party(ASKING, nginx.port["oracle"])
            finally:
                nginx.stop()

    @contextlib.contextmanager
    def party(self, name):
        """Starts a proxy of its own; ends it afterwards."""
        if name == DIRECT:
            yield Party(name, self.backend_port)
            return
        if name == ASKING:
            with self.asking() as asking:
                yield asking
            return
        port = free_port()
        if name == MANY_TOKENS:
            self.write_tokens(0)
        template, command = {
            NGINX: (NGINX_CONF, ["nginx", "-p", self.folder,
                                 "-e", self.folder / "nginx.err", "-c"]),
            HAPROXY: (HAPROXY_CONF, ["haproxy", "-q", "-db", "-f"]),
            DAEMON: (DAEMON_CONF, [self.daemon, "-c"]),
            ASKED: (ASKED_CONF, [self.daemon, "-c"]),
            SHARED: (SHARED_CONF, [self.daemon, "-c"]),
            CROWDED: (CROWDED_CONF, [self.daemon, "-c"]),
            SCALED: (SCALED_CONF, [self.daemon, "-c"]),
            TWO_WORKERS: (TWO_WORKERS_CONF, [self.daemon, "-c"]),
            MANY_TOKENS: (RELOADED_CONF, [self.daemon, "-c"]),
            PYTHON: ("{port} {backend} {token}",
                     [PYTHON_OF_REFERENCE, HERE / "reference.py"]),
            LITELLM: (LITELLM_CONF,
                      [LITELLM_PROGRAM, "--host", "127.0.0.1", "--port", port,
                       "--num_workers", 1, "--config"]),
            METERED: (DAEMON_CONF,
                      [self.daemon.with_name(METERED), "-c"]),
            RELOADED: (RELOADED_CONF,
                       [self.daemon.with_name(METERED), "-c"]),
        }[name]
        config = self.write_config(name, template, port)
        errors = self.folder / f"{name}.stderr"
        with open(errors, "wb") as stderr:
            # Nothing from the environment may change a proxy's settings.
            # LiteLLM takes its prices from the package, not from the net.
            child = spawn(command + [config], self.cores[0], stderr=stderr,
                          env={"PATH": SEARCH,
                               "LLM_PROXY_MEASURE_TURNS": "1",
                               "LITELLM_LOCAL_MODEL_COST_MAP": "True"})
        try:
            wait_for(port, child, errors, START_SECONDS.get(name, 5))
            yield Party(name, port, child.pid, rss_anon_kib(child.pid))
        finally:
            stop(child)

    def load(self, row, party, window_ms, connections, *more):
        """One window; returns what bench_load counted."""
        asked = self.folder / f"request-{row.name}"
        asked.write_bytes(row.asked[party.name][0])
        command = [self.tool("bench_load"), "--port", party.port,
                   "--request", asked, "--connections", connections,
                   "--ramp-ms", 1000 if row.paced else 0,
                   "--warmup-ms", 500 if row.paced else 200,
                   "--window-ms", window_ms]
        if row.awake and not row.paced:
            command += ["--awake"]
        if party.pid:
            command += ["--pid", party.pid]
        command += more
        child = spawn(command, self.cores[1], stdout=subprocess.PIPE,
                      stderr=subprocess.PIPE, text=True)
        try:
            out, err = child.communicate(timeout=window_ms / 1000 + 60)
        finally:
            child.kill()
        if child.returncode != 0:
            raise Failed(f"{party.name}: {first_line(err)}")
        return json.loads(out)

    def longest_turn(self, name, what="turn"):
        """Of the loops of one that has ended, in us; CPU time, so that nobody
        else on the core is counted. A "round" is some turns, from one look at
        timers and listeners to the next."""
        said = (self.folder / f"{name}.stderr").read_text(errors="replace")
        turns = re.findall(rf"longest .*?\b{what} (\d+) us", said)
        if not turns:
            raise Failed(f"{name} did not say its longest {what}")
        return max(map(int, turns))


def wait_for(port, child, errors, seconds=5):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise Failed(f"{child.args[0]} ended at once: "
                         + first_line(errors.read_text(errors="replace")))
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.01)
    raise Failed(f"{child.args[0]} does not listen")


def first_line(text):
    return (text.strip().splitlines() or ["it said nothing"])[0]


def rss_anon_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1])
