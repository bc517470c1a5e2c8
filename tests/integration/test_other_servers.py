"""HAProxy and Caddy with the examples of contrib/: only addresses differ."""

import json
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import pytest
from daemon import ROOT, SLOW, clean_environment
from nginx import need, replaced
from raw import Client, ask, chat, request

pytestmark = pytest.mark.nginx
TOKENS = [{"token": "demo-key-123", "label": "alice", "rpm": 4},
          {"token": "former-key-789", "label": "carol", "disabled": True},
          {"token": "day-key-678", "label": "dora", "rpm": 9, "rpd": 20},
          {"token": "only-day-key-567", "label": "erin", "rpd": 20},
          {"token": "unlimited-key-111", "label": "una"}]
DAEMONS_SOCKET = "/run/llm-proxy/http.sock"
EACH = pytest.mark.parametrize("kind", ["haproxy", "caddy"])


def haproxy(folder):
    text = (ROOT / "contrib/haproxy/haproxy.cfg").read_text()
    text = replaced(text, "    bind :443 ssl crt /etc/haproxy/llm-proxy.pem "
                    "alpn h2,http/1.1\n    bind :80\n",
                    f"    bind unix@{folder}/front\n")
    text = replaced(text, "log /dev/log local0",
                    "log stderr format raw local0")
    text = replaced(text, DAEMONS_SOCKET, f"{folder}/http.sock")
    return [need("haproxy"), "-db", "-f"], "haproxy.cfg", text


def caddy(folder):
    text = (ROOT / "contrib/caddy/Caddyfile").read_text()
    text = replaced(text, "llm.example {\n",
                    "{\n\tadmin off\n}\nhttp:// {\n"
                    f"\tbind unix/{folder}/front\n")
    text = replaced(text, "unix/" + DAEMONS_SOCKET,
                    f"unix/{folder}/http.sock")
    return ([need("caddy"), "run", "--adapter", "caddyfile", "--config"],
            "Caddyfile", text)


class Front:
    """One of the two before a daemon and a backend on both wires."""

    def __init__(self, behind):
        self.behind = behind
        self.daemon = self.process = None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="llmp-"))

    def start(self, kind, make_daemon, **settings):
        behind = self.behind
        self.daemon = make_daemon(
            LISTEN=f"unix:{self.folder}/http.sock,127.0.0.1:0", tokens=TOKENS,
            OLLAMA_BASE_URL=behind.url, VLLM_BASE_URL=behind.url, **settings)
        command, name, text = {"haproxy": haproxy, "caddy": caddy}[kind](
            self.folder)
        (self.folder / name).write_text(text)
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [*command, str(self.folder / name)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, 
                env=clean_environment(HOME=str(self.folder)))
        end = time.monotonic() + 20 * SLOW
        while True:
            try:
                self.client().close()
                break
            except OSError:
                assert self.process.poll() is None, self.said()
                assert time.monotonic() < end, self.said()
                time.sleep(0.02)

    def said(self):
        return (self.folder / "log").read_text()

    def client(self):
        return Client(None, unix=f"{self.folder}/front")

    def ask(self, *arguments, **named):
        with self.client() as client:
            return client.ask(*arguments, **named)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder)


@pytest.fixture
def front(daemon, backend):
    made = []

    def make(kind, handler, **settings):
        made.append(Front(backend(handler)))
        made[-1].start(kind, daemon, **settings)
        return made[-1]

    yield make
    for each in made:
        each.stop()


def ok(_request, peer):
    peer.whole({"ok": 1})


def remaining(answer):
    return [value for name, value in answer.headers
            if name.lower() == "x-ratelimit-remaining-requests"]


@EACH
def test_served_and_charged_once(front, kind):
    at = front(kind, ok)
    forged = ["X-RateLimit-Checked: 1", "X-Proxy-Backend: vllm",
              "X-Original-URI: /healthz", "X-Original-Method: OPTIONS",
              "X-RateLimit-Remaining-Requests: 99",
              "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1"]
    for left in ("3", "2", "1"):
        answer = at.ask(body=chat("vllm:m"), headers=forged)
        assert answer.json == {"ok": 1}
        assert remaining(answer) == [left]
        for name in ("X-Proxy-Label", "X-Proxy-Backend",
                     "X-RateLimit-Checked"):
            assert answer.header(name) is None
    assert remaining(ask(at.daemon.port, body=chat())) == ["0"]
    denied = at.ask(body=chat("vllm:m"), headers=forged)
    assert denied.status == 429
    assert int(denied.header("Retry-After")) >= 1
    assert denied.error["code"] == "rate_limit_exceeded"
    assert remaining(denied) == ["0"]
    assert len(at.behind.requests) == 4


def limits(answer):
    return sorted((name.lower(), value) for name, value in answer.headers
                  if "ratelimit" in name.lower())


@EACH
@pytest.mark.parametrize("fields", [0, 1])
def test_limits_as_the_daemon_tells_them(front, kind, fields):
    """Once each, those of this answer, and none where there are none."""
    at = front(kind, ok, RATE_LIMIT_FIELDS=fields)
    steps = [{"body": chat("vllm:m")}, {"body": b"{"}, {"path": "/v1/models"},
             {"body": chat("vllm:m")}]
    for token in ("day-key-678", "only-day-key-567", "unlimited-key-111"):
        for step in steps:
            through = at.ask(token=token, **step)
            named = dict(limits(through))
            assert len(named) == len(limits(through)), through.headers
            assert not any("{" in value for _, value in through.headers)
            if through.status == 200 and "body" in step:
                spent = limits(through)
                continue
            straight = ask(at.daemon.port, token=token, **step)
            assert through.status == straight.status
            assert named.keys() == dict(limits(straight)).keys()
            if through.status == 400:
                # It was given back: as many as after the one before.
                assert remaining(through) == [
                    value for name, value in spent
                    if name == "x-ratelimit-remaining-requests"]


@EACH
def test_true_statuses(front, kind):
    at = front(kind, ok)

    def check(status, code, **named):
        answer = at.ask(**named)
        assert (answer.status, answer.error["code"]) == (status, code)
        assert answer.header("Content-Type") == "application/json"
        assert answer.header("Retry-After") is None
        return answer

    none = check(401, "missing_api_key", body=chat(), token=None)
    assert none.header("WWW-Authenticate")
    check(401, "invalid_api_key", body=chat(), token="nobody")
    check(403, "insufficient_permissions", body=chat(),
          token="former-key-789")
    check(404, "unknown_url", path="/nothing")
    for path in ("/internal/authz", "//internal/authz", "/metrics",
                 "/v1/../internal/authz"):
        answer = at.ask(path)
        assert answer.status == 404 and answer.error["message"]
    assert at.ask("/healthz", token=None).status == 200
    many = at.ask(body=chat(), headers=[f"X-{i}: 1" for i in range(150)])
    assert (many.status, many.error["code"]) == (431, "headers_too_large")
    large = b'{"model":"vllm:m","x":"' + b"x" * (21 << 20) + b'"}'
    with at.client() as client:
        try:
            client.send(request(body=large))
        except OSError:
            pass  # it has answered and reads no more
        answer = client.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert answer.header("Retry-After") is None
    at.daemon.stop()
    down = at.ask(body=chat("vllm:m"))
    assert down.status == 503
    assert down.error["type"] == "server_error"
    assert down.header("Retry-After") == "1"
    assert not at.behind.requests


@EACH
def test_streams(front, kind):
    """Piece by piece; and a client that leaves frees the backend."""
    heard = threading.Event()
    gone = []

    def handler(request_, peer):
        peer.sse_head()
        peer.sse({"choices": []})
        if request_.json["model"] == "leaves":
            gone.append(peer.wait_closed(30))
            heard.set()
            peer.close()
            return
        assert heard.wait(20 * SLOW)  # the client has the first one
        peer.sse("[DONE]")
        peer.end()

    at = front(kind, handler)
    with at.client() as client:
        client.send(request(body=chat("vllm:m", stream=True)))
        answer = client.head()
        assert b"choices" in client.chunk(answer)
        heard.set()
        client.rest(answer)
        assert answer.events[-1] == "[DONE]"
    heard.clear()
    with at.client() as client:
        client.send(request(body=chat("vllm:leaves", stream=True)))
        client.chunk(client.head())
        left = time.monotonic()
    assert heard.wait(20 * SLOW)
    assert gone[0] - left < 0.1 * SLOW


def test_caddy_waits_no_longer_for_a_decision_than_it_says(front):
    at = front("caddy", ok)
    at.daemon.freeze()
    try:
        answer = at.ask(body=chat("vllm:m"))
    finally:
        at.daemon.thaw()
    assert (answer.status, answer.error["code"]) == (504, "backend_timeout")
    assert answer.header("Retry-After") is None
    assert not at.behind.requests


def test_haproxys_log(front):
    at = front("haproxy", ok)
    at.ask(body=chat("vllm:m"), headers=["X-Request-Id: my-1"])
    end = time.monotonic() + 5 * SLOW
    while '"my-1"' not in at.said():
        assert time.monotonic() < end, at.said()
        time.sleep(0.02)
    line = json.loads(next(line for line in at.said().splitlines()
                           if '"my-1"' in line))
    assert (line["label"], line["backend"], line["status"]) \
        == ("alice", "vllm", 200)
