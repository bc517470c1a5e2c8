"""What a client says about itself through nginx as shipped gains it nothing,
from TCP and from a unix socket, in all shapes."""

import hashlib
import hmac
import socket
import time

import pytest
from daemon import SLOW
from nginx import SHAPES
from raw import chat, request

pytestmark = pytest.mark.nginx
SECRET = "a secret of both daemons"
TOKENS = [{"token": "demo-key-123", "label": "alice", "rpm": 3},
          {"token": "other-key-456", "label": "bob", "models": ["ollama:*"]}]
EACH_WAY = pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
EACH_SHAPE = pytest.mark.parametrize("shape", SHAPES)


def ok(_request, peer):
    peer.whole({"ok": 1})


def receipt(request_id="r1", age=0, secret=SECRET):
    digest = hashlib.sha256(b"demo-key-123").hexdigest()
    text = f"v1;{int(time.time()) - age};{request_id};{digest[:16]};"
    return text + hmac.new(secret.encode(), text.encode(),
                           hashlib.sha256).hexdigest()


@EACH_SHAPE
@EACH_WAY
@pytest.mark.parametrize("value", [
    lambda: "1", receipt, lambda: receipt(secret="not the secret at all"),
    lambda: receipt(age=3600)], ids=["bare", "good", "forged", "stale"])
def test_a_receipt_of_the_clients_own(site, shape, unix, value):
    """Even a good one; and even where a bare 1 of nginx would count."""
    at = site(ok, tokens=TOKENS, RATE_LIMIT_SHARED_SECRET=SECRET,
              TRUST_CHECKED_HEADER="plain")
    with at.client(shape, unix) as client:
        statuses = [client.ask(body=chat("vllm:m"), headers=[
            "X-RateLimit-Checked: " + value(),
            "X_RateLimit_Checked: " + value()]).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_a_receipt_does_not_reach_the_client_to_be_replayed(site):
    at = site(ok, tokens=TOKENS)
    answer = at.ask("oracle", body=chat("ollama:m"))
    assert answer.header("X-RateLimit-Checked") is None


FORGED = [
    "X-Proxy-Backend: vllm", "X-Proxy-Label: root", "X-Proxy-Status: 200",
    "X-Proxy-Error: {}", "X-Accel-Redirect: @vllm", "X-Accel-Mode: on",
    "X-Accel-Buffering: yes", "X-Original-URI: /healthz",
    "X-Original-Method: OPTIONS", "Forwarded: for=127.0.0.1",
    "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: gopher", "X-Forwarded-Port: 1",
    "X-Forwarded-Server: evil.example", "X-Forwarded-Prefix: /evil",
    "X-Forwarded-Uri: /evil", "X-Forwarded-Method: TRACE",
    "X-Real-IP: 10.0.0.1", "Via: 1.1 evil", "Proxy: http://evil.example/"]


# Of whom other servers in front speak so.
FORGED_ELSEWHERE = [
    "X-Forwarded-Ssl: evil", "X-Forwarded-User: evil",
    "X-Forwarded-Client-Cert: evil", "X-Forwarded-Scheme: evil",
    "X-Forwarded-By: evil", "X-Forwarded-Email: evil",
    "X-Forwarded-Access-Token: evil", "X-Proxy-Secret: evil",
    "X-Proxy-Partial: evil", "X-Original-URL: /evil",
    "X-Original-Host: evil", "X-Original-Forwarded-For: evil",
    "X-Rewrite-URL: /evil", "X-Client-IP: evil", "True-Client-IP: evil",
    "X-Cluster-Client-IP: evil"]


@EACH_SHAPE
@EACH_WAY
def test_what_the_daemon_is_told(site, shape, unix):
    at = site(ok, tokens=TOKENS)
    at.daemon.stop()
    heads = []
    with socket.socket(socket.AF_UNIX) as other, \
            at.client(shape, unix) as client:
        other.bind(at.socket)
        other.listen()
        other.settimeout(20 * SLOW)
        client.send(request("/v1/models", headers=[
            *FORGED, *FORGED_ELSEWHERE, "X-Model: vllm:m"]))
        for _ in range(2 if shape == "oracle" else 1):
            peer, _ = other.accept()
            with peer:
                peer.settimeout(20 * SLOW)
                heads.append(b"")
                while not heads[-1].endswith(b"\r\n\r\n"):
                    heads[-1] += peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                             b"Connection: close\r\n\r\n{}")
        assert client.answer().status == 200
    for head in heads:
        assert b"evil" not in head and b"\r\nVia:" not in head
        told = [line.split(b": ")[0].decode() for line in
                head.split(b"\r\n")[1:-2]]
        mine = {"Host", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host",
                "X-Forwarded-Proto", "X-Request-Id", "Authorization"}
        question = {"X-Original-URI", "X-Original-Method", "X-Model"}
        if shape == "oracle":
            mine |= question if head is heads[0] else set()
        else:
            mine |= {"X-Model"} | (
                {"X-Accel-Mode"} if shape == "redirect" else set())
        assert (len(told), set(told)) == (len(mine), mine)


@EACH_SHAPE
@EACH_WAY
def test_forged_fields_change_nothing(site, shape, unix):
    # The redirect's own field is nginx's there, and only there.
    setting = "bare" if shape == "redirect" else "all"
    at = site(ok, tokens=TOKENS, ACCEL_REDIRECT=setting)
    with at.client(shape, unix) as client:
        statuses = [client.ask(body=chat("vllm:m"), headers=FORGED).status
                    for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        # Neither out of a list of models nor past a token.
        assert client.ask(body=chat("vllm:m"), headers=FORGED,
                          token="other-key-456").status == 404
        assert client.ask(body=chat("vllm:m"), headers=FORGED,
                          token=None).status == 401
    for seen in at.behind.requests:
        assert b"evil" not in seen.head and b"10.0.0.1" not in seen.head
        assert seen.header("X-Real-IP") is None  # all through the daemon
    assert {line["label"] for line in at.daemon.wait_access(6)} \
        <= {"alice", "bob", '""', "-"}


@pytest.mark.parametrize("name", ["User-Agent", "Accept", "Origin",
                                  "Traceparent", "Content-Encoding"])
def test_the_oracle_passes_no_field_that_the_daemon_would_refuse(site, name):
    """nginx takes control characters, and vLLM gets these from it."""
    at = site(ok, tokens=TOKENS, DEFAULT_BACKEND="vllm")
    answer = at.ask("oracle", body=chat("m"), headers=[name + ": a\x1bb"])
    assert (answer.status, answer.error["code"]) == (400, "malformed_http")
    assert not at.behind.requests


@pytest.mark.parametrize("shape", ["oracle", "redirect"])
@EACH_WAY
def test_forged_fields_do_not_reach_vllm_from_nginx_itself(site, shape, unix):
    at = site(ok, tokens=TOKENS, DEFAULT_BACKEND="vllm")
    with at.client(shape, unix) as client:
        assert client.ask(body=chat("m"), headers=FORGED).status == 200
    seen = at.behind.requests[0]
    own = {"X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host",
           "X-Forwarded-Proto"}
    for field in FORGED:
        name, value = field.split(": ", 1)
        assert (seen.header(name) is not None) == (name in own)
        assert seen.header(name) != value or (
            value == "127.0.0.1" and not unix)
    assert seen.header("Authorization") is None
    assert seen.header("X-RateLimit-Checked") is None


OUTSIDE = [
    "/internal/authz", "/internal/authz?mode=plain", "//internal/authz",
    "/%69nternal/authz", "/v1/../internal/authz", "/v1/..%2finternal/authz",
    "/v1/models/../../internal/authz", "/internal/authz/../../v1/models",
    "/internal//authz", "/internal/authz#/v1/models", "/metrics", "/status",
    "/_llm_authz", "/_llm_no_request", "http://p/internal/authz",
    "/internal/authz;/v1/models", "/INTERNAL/authz", "/internal/authz/"]


@EACH_SHAPE
@EACH_WAY
def test_admin_paths_answer_nobody_outside(site, shape, unix):
    at = site(ok, tokens=TOKENS)
    for path in OUTSIDE:
        with at.client(shape, unix) as client:
            client.send(request(path, headers=FORGED))
            answer = client.answer()
        assert answer.status in (400, 404), path
        assert answer.header("X-Proxy-Label") is None
        assert answer.header("X-RateLimit-Checked") is None
        assert answer.error["message"]


@pytest.mark.parametrize("shape", ["oracle", "redirect"])
def test_a_backend_sends_nginx_nowhere(site, shape):
    def handler(_request, peer):
        peer.whole({"ok": 1}, X_Accel_Redirect="/healthz",
                   X_Accel_Expires="1", X_Accel_Limit_Rate="1",
                   X_Proxy_Label="root", X_RateLimit_Checked="v1;x",
                   X_RateLimit_Remaining_Requests="99", Via="1.1 vllm")

    at = site(handler, tokens=TOKENS, DEFAULT_BACKEND="vllm")
    answer = at.ask(shape, body=chat("m"))
    assert answer.json == {"ok": 1}
    assert answer.header("X-Proxy-Label") is None
    assert [value for name, value in answer.headers
            if name.lower() == "x-ratelimit-remaining-requests"] == ["2"]
    assert answer.header("X-RateLimit-Checked") is None


# As the daemon has it of what passes through it.
NOT_A_BACKENDS = {
    "Set_Cookie": "a=b", "Strict_Transport_Security": "max-age=1",
    "Alt_Svc": 'h3=":443"', "Upgrade": "h2c", "Proxy_Authenticate": "Basic",
    "Trailer": "X-Sum", "X_Proxy_Partial": "ollama",
    "X_Proxy_Dropped_Params": "seed", "X_Proxy_Status": "200",
    "X_Proxy_Error": "{}", "X_Proxy_Backend": "root", "RateLimit": "x",
    "RateLimit_Policy": "x", "X_RateLimit_Limit_Tokens": "7",
    "Access_Control_Allow_Origin": "*",
    "Access_Control_Allow_Credentials": "true",
    "Access_Control_Allow_Headers": "*", "Access_Control_Allow_Methods": "*",
    "Access_Control_Expose_Headers": "*", "Access_Control_Max_Age": "9",
    "Access_Control_Allow_Private_Network": "true"}


@EACH_SHAPE
@pytest.mark.parametrize("origins", ["", "https://app.example"])
def test_what_is_not_a_backends_to_say(site, shape, origins):
    at = site(lambda _request, peer: peer.whole({"ok": 1}, **NOT_A_BACKENDS),
              tokens=TOKENS, DEFAULT_BACKEND="vllm", CORS_ORIGINS=origins)
    answer = at.ask(shape, body=chat("m"))
    assert answer.json == {"ok": 1}
    for name in NOT_A_BACKENDS:
        assert answer.header(name.replace("_", "-")) is None


@EACH_SHAPE
def test_what_the_daemon_says_of_its_answer_passes(site, shape):
    def handler(request_, peer):
        if request_.path == "/api/tags":
            peer.whole({"models": []})
            return
        peer.whole({"model": "m", "created_at": "2026-11-24T10:00:00Z",
                    "message": {"role": "assistant", "content": "hi"},
                    "done": True, "done_reason": "stop"})

    at = site(handler, tokens=TOKENS, VLLM_BASE_URL="http://127.0.0.1:1")
    answer = at.ask(shape, body=chat("ollama:m", parallel_tool_calls=False))
    assert answer.header("X-Proxy-Dropped-Params") == "parallel_tool_calls"
    assert at.ask(shape, "/v1/models").header("X-Proxy-Partial") == "vllm"


def test_the_oracles_verdict_holds_for_one_request(site):
    """The client's id of a request is none to the daemon that is asked: with
    it a second request would get the first one's verdict."""
    at = site(ok, tokens=TOKENS)
    statuses = [at.ask("oracle", body=chat("vllm:m"),
                       headers=["X-Request-Id: same"]).status
                for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
