"""True statuses through nginx as shipped, with OpenAI's body, whoever says
them: the daemon, vLLM or nginx itself."""

import json
import re
import socket

import openai
import pytest
from nginx import SHAPES
from raw import Client, Closed, ask, chat, request

pytestmark = pytest.mark.nginx
TOKENS = [{"token": "demo-key-123", "label": "alice"},
          {"token": "former-key-789", "label": "carol", "disabled": True},
          {"token": "minute-key-345", "label": "mia", "rpm": 1},
          {"token": "day-key-678", "label": "dora", "rpd": 1},
          {"token": "other-key-456", "label": "bob", "models": ["ollama:*"]}]
EACH_SHAPE = pytest.mark.parametrize("shape", SHAPES)


def impatient(text):
    """Of proxy.conf: how long nginx waits for the daemon or for vLLM."""
    return text.replace("proxy_read_timeout 620s;",
                        "proxy_read_timeout 300ms;")


def ok(_request, peer):
    peer.whole({"ok": 1})


def check(answer, status, code, kind=None):
    """One answer in OpenAI's shape, with no header twice."""
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("X-Request-Id")
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert answer.error["message"]
    assert kind is None or answer.error["type"] == kind
    names = [name.lower() for name, _ in answer.headers]
    assert len(names) == len(set(names)), names
    return answer


@EACH_SHAPE
def test_what_the_daemon_refuses(site, shape):
    at = site(ok, tokens=TOKENS)

    def refused(status, code, **named):
        answer = at.ask(shape, **{"body": chat("vllm:m"), **named})
        return check(answer, status, code)

    none = refused(401, "missing_api_key", token=None)
    assert none.header("WWW-Authenticate") == 'Bearer realm="llm-proxy"'
    wrong = refused(401, "invalid_api_key", token="nobody-has-this")
    assert "invalid_token" in wrong.header("WWW-Authenticate")
    refused(403, "insufficient_permissions", token="former-key-789")
    refused(404, "model_not_found", token="other-key-456")
    refused(400, "invalid_json", body=b"{")
    refused(405, "method_not_supported", body=None)
    assert not at.behind.requests


@EACH_SHAPE
@pytest.mark.parametrize("uri, status, code", [
    ("/v1/chat/completions?" + "x" * 9000, 414, "uri_too_long"),
    ("/v1/chat/completions#x", 400, "malformed_http"),
    ("/v1/chat/completions?\xe9", 400, "malformed_http")],
    ids=["long", "fragment", "byte"])
def test_targets_that_nginx_takes(site, shape, uri, status, code):
    at = site(ok, DEFAULT_BACKEND="vllm", tokens=[
        {"token": "demo-key-123", "label": "alice", "rpm": 1}])
    check(at.ask(shape, uri, body=chat("m")), status, code)
    assert at.ask(shape, body=chat("m")).status == 200


@EACH_SHAPE
@pytest.mark.parametrize("token, retry", [("minute-key-345", None),
                                          ("day-key-678", "false")])
def test_429(site, shape, token, retry):
    at = site(ok, tokens=TOKENS)
    # Through one connection: a denial need not close it.
    with at.client(shape) as client:
        assert client.ask(body=chat("vllm:m"), token=token).status == 200
        for _ in range(2):
            denied = check(client.ask(body=chat("vllm:m"), token=token), 429,
                           "rate_limit_exceeded", "requests")
            assert int(denied.header("Retry-After")) >= 1
            assert int(denied.header("retry-after-ms")) >= 1
            assert denied.header("X-RateLimit-Remaining-Requests") == "0"
            assert denied.header("X-RateLimit-Limit-Requests") == "1"
            assert denied.header("X-Should-Retry") == retry
            assert "for token '" in denied.error["message"]
    assert len(at.behind.requests) == 1


@EACH_SHAPE
def test_the_sdk_sees_its_own_exceptions(site, shape):
    at = site(ok, tokens=TOKENS)

    def caught(kind, token, model="vllm:m"):
        client = openai.OpenAI(
            base_url=f"http://127.0.0.1:{at.nginx.port[shape]}/v1",
            api_key=token, max_retries=0)
        with client, pytest.raises(kind) as error:
            for _ in range(2):
                client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": "hi"}])
        return error.value

    assert caught(openai.AuthenticationError, "nobody").code \
        == "invalid_api_key"
    assert caught(openai.PermissionDeniedError, "former-key-789").code \
        == "insufficient_permissions"
    assert caught(openai.NotFoundError, "other-key-456").param == "model"
    limited = caught(openai.RateLimitError, "minute-key-345")
    assert limited.type == "requests"
    assert limited.response.headers["retry-after"]


@EACH_SHAPE
@pytest.mark.parametrize("framed", ["length", "chunked"])
def test_413_of_nginx(site, shape, framed):
    """The body is larger than client_max_body_size."""
    at = site(ok, tokens=TOKENS,
              edit=lambda text: text.replace("_size 20m;", "_size 64k;"))
    body = json.dumps(chat(text="x" * 100_000)).encode()
    with at.client(shape) as client:
        head = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\n"
                b"Authorization: Bearer demo-key-123\r\n"
                b"Content-Type: application/json\r\n")
        if framed == "length":
            client.send(head + b"Content-Length: %d\r\n\r\n" % len(body))
        else:
            client.send(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n"
                        % len(body))
        try:
            client.send(body)
        except OSError:
            pass  # nginx has answered and reads no more
        check(client.answer(), 413, "request_too_large",
              "invalid_request_error")
    assert not at.behind.requests


@EACH_SHAPE
def test_413_of_the_daemon(site, shape):
    at = site(ok, tokens=TOKENS, MAX_BODY_BYTES="1k", DEFAULT_BACKEND="ollama")
    answer = at.ask(shape, body=chat(text="x" * 5000))
    check(answer, 413, "request_too_large")


NO_REQUESTS = [
    (b"GET /v1/models HTTP/1.1\r\n\r\n", 400),
    (b"GET /v1/models HTTP/1.1\r\nHost: p\r\nContent-Length: x\r\n\r\n", 400),
    (b"GET /v1/models HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: gzip\r\n\r\n",
     501),
    (b"GET /v1/models HTTP/1.1\r\nHost: p\r\nX: " + b"x" * 20_000
     + b"\r\n\r\n", 431),
    (b"GET /v1/models?" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: p\r\n\r\n", 414),
    (b"GET /v1/models HTTP/3.0\r\nHost: p\r\n\r\n", 505),
    (b"BREW\x01 /v1 HTTP/1.1\r\nHost: p\r\n\r\n", 400),
]


@EACH_SHAPE
def test_what_is_no_request(site, shape):
    at = site(ok, tokens=TOKENS)
    for raw, status in NO_REQUESTS:
        with at.client(shape) as client:
            client.send(raw)
            answer = client.answer()
            assert answer.status == status, raw[:60]
            assert answer.error["message"]
            assert client.closed()


@EACH_SHAPE
def test_the_daemon_is_down(site, shape):
    """Nothing is let through, and the SDK may try again."""
    at = site(ok, tokens=TOKENS, DEFAULT_BACKEND="vllm")
    at.daemon.stop()
    for named in ({"body": chat("m")}, {"path": "/v1/models"},
                  {"body": chat("m"), "token": None},
                  {"path": "/healthz"}):
        answer = at.ask(shape, **named)
        check(answer, 503, "overloaded", "server_error")
        assert answer.header("Retry-After") == "1"
    assert not at.behind.requests


def test_the_daemon_dies_after_its_yes(site):
    """As if it had been down before; the oracle alone asks it twice."""
    at = site(ok, DEFAULT_BACKEND="ollama",
              tokens=[{"token": "demo-key-123", "label": "a", "rpm": 9}])
    whole = request(body=chat("vllm:m"))
    with at.client("oracle") as client:
        client.send(whole[:-5])
        at.daemon.wait_access()
        at.daemon.stop()
        client.send(whole[-5:])
        answer = check(client.answer(), 503, "overloaded", "server_error")
    assert answer.header("Retry-After") == "1"
    assert answer.header("X-RateLimit-Remaining-Requests") == "8"
    assert not at.behind.requests


@EACH_SHAPE
def test_the_daemon_does_not_answer(site, shape):
    """Neither authz nor anything else, within the shipped patience."""
    at = site(ok, tokens=TOKENS, edit=impatient)
    at.daemon.freeze()
    try:
        answer = at.ask(shape, body=chat("vllm:m"))
    finally:
        at.daemon.thaw()
    if shape == "oracle":
        check(answer, 503, "overloaded", "server_error")
        assert answer.header("Retry-After") == "1"
    else:
        check(answer, 504, "backend_timeout", "server_error")
    assert not any(request.header("X-Real-IP")
                   for request in at.behind.requests)


@EACH_SHAPE
def test_an_answer_that_is_no_answer(site, shape):
    """Something else listens where the daemon should."""
    at = site(ok, tokens=TOKENS)
    at.daemon.stop()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(at.socket)
        other.listen()
        with at.client(shape) as client:
            client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\n"
                        b"Content-Length: 2\r\n\r\n{}")
            peer, _ = other.accept()
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nno field\r\n\r\n")
            peer.close()
            answer = client.answer()
    check(answer, 503, "overloaded", "server_error")


@pytest.mark.parametrize("shape", ["oracle", "redirect"])
@pytest.mark.parametrize("how, status, code", [
    ("refuses", 502, "backend_unreachable"),
    ("resets", 502, "backend_unreachable"),
    ("is silent", 504, "backend_timeout"),
])
def test_vllm_fails_nginx_itself(site, shape, how, status, code):
    def handler(_request, peer):
        if how == "resets":
            peer.reset()
        else:
            peer.pause(30)

    at = site(handler, edit=impatient, DEFAULT_BACKEND="vllm",
              tokens=[{"token": "demo-key-123", "label": "a", "rpm": 9}])
    if how == "refuses":
        at.behind.stop()
    answer = check(at.ask(shape, body=chat("m")), status, code,
                   "server_error")
    # vLLM may have begun: the unit is spent.
    assert answer.header("X-RateLimit-Remaining-Requests") == "8"
    assert answer.header("Retry-After") == ("1" if status == 502 else None)


@EACH_SHAPE
def test_the_backend_is_down_behind_the_daemon(site, shape):
    at = site(ok, DEFAULT_BACKEND="ollama",
              tokens=[{"token": "demo-key-123", "label": "a", "rpm": 9}])
    at.behind.stop()
    answer = at.ask(shape, body=chat("ollama:m"))
    check(answer, 502, "backend_unreachable", "server_error")
    assert answer.error["message"].startswith("The ollama backend")
    assert answer.header("Retry-After") == "1"
    # Nothing reached it: the unit is there again.
    again = ask(at.daemon.port, body=chat("ollama:m"))
    assert again.header("X-RateLimit-Remaining-Requests") == "9"


@pytest.mark.parametrize("shape", ["oracle", "redirect"])
def test_vllms_own_errors_pass_untouched(site, shape):
    said = {"error": {"message": "no", "type": "BadRequestError",
                      "param": None, "code": 400}}
    at = site(lambda _request, peer: peer.whole(said, 400), tokens=TOKENS,
              DEFAULT_BACKEND="vllm")
    answer = at.ask(shape, body=chat("m"))
    assert (answer.status, answer.json) == (400, said)


@EACH_SHAPE
def test_a_body_that_never_comes(site, shape):
    """nginx waits no longer than it says, and nothing is sent on."""
    at = site(ok, tokens=TOKENS, scale=20)
    with at.client(shape) as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\n"
                    b"Authorization: Bearer demo-key-123\r\n"
                    b"Content-Length: 100\r\n\r\n{")
        with pytest.raises(Closed):
            client.answer()
    assert not at.behind.requests


def test_elsewhere_nothing_is_html(site):
    at = site(ok, tokens=TOKENS)
    for shape in SHAPES:
        for path in ("/", "/favicon.ico", "/v1", "/_llm_authz", "/metrics",
                     "/status", "/internal/authz"):
            check(at.ask(shape, path), 404, "unknown_url")
    with Client(at.nginx.tls["front"]) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: p\r\n\r\n")
        answer = client.answer()
        assert answer.status == 400 and answer.error
    assert not re.search(rb"<html", answer.body)
