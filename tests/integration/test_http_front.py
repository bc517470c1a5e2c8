"""The HTTP front: the order of requests, framing, refusals before the body,
and deadlines."""

import json
import threading
import time

import pytest
from daemon import SLOW
from raw import Client, ask, chat, request

CHAT = "/v1/chat/completions"


def ok(_request, peer):
    peer.whole({"ok": 1})


def echo(got, peer):
    peer.whole({"said": got.json["messages"][0]["content"]})


def chunked(body, sizes, extra=()):
    """A chat with a chunked body; the sizes are those of its first chunks."""
    head = request(body=b"", headers=["Transfer-Encoding: chunked", *extra])
    head = head.replace(b"Content-Length: 0\r\n", b"")
    out = b""
    for size in sizes:
        out += b"%x\r\n%s\r\n" % (len(body[:size]), body[:size])
        body = body[size:]
    return head + out + b"%X;a=b\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def padded(size):
    """A chat of exactly that many bytes."""
    body = json.dumps(chat()).encode()
    return body + b" " * (size - len(body))


# The order of requests ----------------------------------------------------

def test_one_connection_serves_many_requests(proxy):
    daemon, behind = proxy(echo)
    with Client(daemon.port) as client:
        for text in ("a", "b"):
            assert client.ask(body=chat(text=text)).json == {"said": text}
            assert client.ask("/healthz").status == 200
            assert client.ask("/nope").status == 404
            assert client.ask(body=b"{bad").status == 400
            assert client.ask(body=chat(), token=None).status == 401
            assert client.ask(CHAT, method="DELETE").status == 405
    assert len(behind.requests) == 2


@pytest.mark.threads
@pytest.mark.parametrize("piece", [0, 11])
def test_pipelined_requests_are_answered_in_order(proxy, workers, piece):
    gate = threading.Event()

    def first_is_slow(got, peer):
        gate.wait(20)
        echo(got, peer)

    daemon, behind = proxy(first_is_slow, WORKERS=workers)
    with Client(daemon.port) as client:
        client.send(b"".join(request(body=chat(text=f"n{i}"))
                             for i in range(5)), piece)
        behind.wait_requests(1)
        assert len(behind.requests) == 1  # the others wait for its answer
        gate.set()
        said = [client.answer().json["said"] for _ in range(5)]
    assert said == [f"n{i}" for i in range(5)]


def test_a_refused_request_does_not_eat_the_next(proxy):
    daemon, _ = proxy(echo)
    with Client(daemon.port) as client:
        client.send(request(body=chat(), token=None)
                    + request(body=chat(text="next")) + request("/healthz"))
        assert client.answer().status == 401
        assert client.answer().json == {"said": "next"}
        assert client.answer().status == 200


# HTTP/1.0 -----------------------------------------------------------------

@pytest.mark.parametrize("version, headers, stays", [
    ("1.1", [], True),
    ("1.1", ["Connection: close"], False),
    ("1.0", [], False),
    ("1.0", ["Connection: keep-alive"], True),
])
def test_who_keeps_the_connection(proxy, version, headers, stays):
    daemon, _ = proxy(ok)
    with Client(daemon.port) as client:
        for path, body in (("/healthz", None), (CHAT, chat())):
            answer = client.ask(path, body=body, version=version,
                                headers=headers)
            assert answer.status == 200
            told = {True: "keep-alive" if version == "1.0" else None,
                    False: "close"}[stays]
            assert answer.header("Connection") == told
            if not stays:
                assert client.closed()
                return


def test_streams_to_http_1_0_end_with_the_connection(proxy):
    def handler(_request, peer):
        peer.sse_head()
        peer.sse({"n": 1})
        peer.sse("[DONE]")
        peer.end()

    daemon, _ = proxy(handler)
    with Client(daemon.port) as client:
        answer = client.ask(body=chat(stream=True), version="1.0",
                            headers=["Connection: keep-alive"])
    assert answer.header("Transfer-Encoding") is None
    assert answer.header("Connection") == "close"
    assert answer.body == b'data: {"n": 1}\n\ndata: [DONE]\n\n'


# Bodies -------------------------------------------------------------------

@pytest.mark.parametrize("sizes", [[], [1, 1, 1], [7, 30], [16, 15, 2]])
@pytest.mark.parametrize("piece", [0, 1, 3])
def test_chunked_bodies_in_odd_cuts(proxy, sizes, piece):
    daemon, behind = proxy(ok)
    body = json.dumps(chat()).encode()
    with Client(daemon.port) as client:
        client.send(chunked(body, sizes) + request("/healthz"), piece)
        assert client.answer().status == 200
        assert client.answer().json == {"status": "ok"}
    got = behind.requests[0]
    assert got.json["messages"] == chat()["messages"]
    assert int(got.header("Content-Length")) == len(got.body)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_expect_continue_is_answered_before_the_body(proxy, framing):
    daemon, _ = proxy(ok)
    expect = ["Expect: 100-continue"]
    whole = request(body=chat(), headers=expect) if framing == "length" \
        else chunked(json.dumps(chat()).encode(), [5], expect)
    head, _, body = whole.partition(b"\r\n\r\n")
    with Client(daemon.port) as client:
        client.send(head + b"\r\n\r\n")
        assert client.head().status == 100
        client.send(body)
        assert client.head().status == 200


@pytest.mark.parametrize("path, named, status", [
    (CHAT, {"token": None}, 401),
    (CHAT, {"headers": ["Content-Length: 5000"]}, 413),
    (CHAT, {"headers": ["Content-Encoding: gzip"]}, 415),
    ("/nope", {}, 404),
])
def test_a_refused_expectation_gets_no_100(proxy, path, named, status):
    daemon, behind = proxy(ok, MAX_BODY_BYTES=4999)
    headers = [*named.pop("headers", []), "Expect: 100-continue"]
    if not any(line.startswith("Content-Length") for line in headers):
        headers.append("Content-Length: 50")
    with Client(daemon.port) as client:
        client.send(request(path, method="POST", headers=headers, **named))
        assert client.head().status == status
    assert not behind.requests


@pytest.mark.parametrize("version, value, status", [
    ("1.1", "200-ok", 417), ("1.1", "100-Continue", 100),
    ("1.0", "100-continue", 200),
])
def test_other_expectations(proxy, version, value, status):
    daemon, _ = proxy(ok)
    with Client(daemon.port) as client:
        client.send(request(body=chat(), version=version,
                            headers=[f"Expect: {value}"]))
        assert client.head().status == status


def test_bodies_up_to_the_limit(proxy):
    daemon, behind = proxy(ok, MAX_BODY_BYTES=1000)
    port = daemon.port
    assert ask(port, body=padded(1000)).status == 200
    with Client(port) as client:
        client.send(chunked(padded(1000), [300, 600]))
        assert client.answer().status == 200
    assert len(behind.requests) == 2
    head = request(body=padded(1001)).partition(b"\r\n\r\n")[0]
    for data in (head + b"\r\n\r\n", chunked(padded(1001), [300, 600])):
        with Client(port) as client:
            client.send(data)
            answer = client.answer()
            assert answer.status == 413
            assert answer.error["code"] == "request_too_large"
            assert "1000" in answer.error["message"]
            assert answer.header("Connection") == "close"
            assert client.closed()
    assert len(behind.requests) == 2


# Methods and paths --------------------------------------------------------

@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models",
                                  "/v1/models/vllm:demo"])
def test_head_is_get_without_the_body(proxy, path):
    daemon, _ = proxy()
    with Client(daemon.port) as client:
        whole = client.ask(path)
        bare = client.ask(path, method="HEAD")
        assert whole.status == bare.status == 200
        assert int(bare.header("Content-Length")) == len(whole.body) > 0
        assert bare.header("Content-Type") == whole.header("Content-Type")
        assert client.ask("/healthz").json == {"status": "ok"}


@pytest.mark.parametrize("path, allow", [
    (CHAT, "POST, OPTIONS"), ("/v1/models", "GET, HEAD, OPTIONS"),
    ("/healthz", "GET, HEAD, OPTIONS"), ("*", "GET, HEAD, POST, OPTIONS"),
])
def test_options(proxy, path, allow):
    daemon, _ = proxy()
    with Client(daemon.port) as client:
        answer = client.ask(path, method="OPTIONS", token=None)
        assert (answer.status, answer.header("Allow")) == (204, allow)
        assert answer.header("Content-Length") is None
        assert client.ask("/healthz").status == 200
    assert ask(daemon.port, "/nope", method="OPTIONS").status == 404


@pytest.mark.parametrize("path, hint", [
    ("/chat/completions", "/v1 in the base URL"),
    ("/models", "/v1 in the base URL"),
    ("//v1/chat/completions", "Did you mean /v1/chat/completions?"),
    ("/v1/chat/completions/", "Did you mean /v1/chat/completions?"),
    ("/v1//models", "Did you mean /v1/models?"),
    ("/nope", None), ("/v1", None), ("/v1/responses", None), ("/", None),
    ("/v1/chat/completions%00", None), ("/V1/models", None),
])
def test_unknown_paths_get_a_hint(proxy, path, hint):
    daemon, behind = proxy()
    for method in ("GET", "POST"):
        answer = ask(daemon.port, path, method=method)
        assert answer.status == 404
        error = answer.error
        assert (error["type"], error["code"], error["param"]) == (
            "invalid_request_error", "unknown_url", None)
        start = f"Invalid URL ({method} {path})."
        assert error["message"].startswith(start)
        rest = error["message"][len(start):]
        assert hint in rest if hint else rest == ""
    assert not behind.requests


@pytest.mark.parametrize("path, methods, allow", [
    (CHAT, ["GET", "HEAD", "PUT", "DELETE", "PATCH"], "POST, OPTIONS"),
    ("/v1/models", ["POST", "DELETE"], "GET, HEAD, OPTIONS"),
    ("/healthz", ["POST"], "GET, HEAD, OPTIONS"),
])
def test_wrong_methods_are_told_the_right_ones(proxy, path, methods, allow):
    daemon, _ = proxy()
    for method in methods:
        answer = ask(daemon.port, path, method=method)
        assert (answer.status, answer.header("Allow")) == (405, allow)
        if method != "HEAD":
            assert answer.error["code"] == "method_not_supported"


@pytest.mark.parametrize("header, status, code", [
    ("Content-Type: application/json; charset=utf-8", 200, None),
    ("Content-Type: APPLICATION/JSON", 200, None),
    ("Content-Type: text/plain", 415, "unsupported_media_type"),
    ("Content-Type: multipart/form-data; boundary=x", 415,
     "unsupported_media_type"),
    ("Content-Type:", 415, "unsupported_media_type"),
    ("Content-Encoding: identity", 200, None),
    ("Content-Encoding: gzip", 415, "unsupported_encoding"),
])
def test_media_types_and_codings(proxy, header, status, code):
    daemon, behind = proxy(ok)
    data = request(body=chat(), headers=[header])
    if header.startswith("Content-Type"):
        data = data.replace(b"Content-Type: application/json\r\n", b"", 1)
    with Client(daemon.port) as client:
        client.send(data)
        answer = client.answer()
    assert answer.status == status
    assert code is None or answer.error["code"] == code
    assert len(behind.requests) == (status == 200)


# Deadlines ----------------------------------------------------------------

@pytest.mark.parametrize("sent, setting", [
    (b"G", "HEAD_TIMEOUT"),
    (b"GET /healthz HTTP/1.1\r\nHost: a\r\n", "HEAD_TIMEOUT"),
    (request(body=chat())[:-1], "BODY_TIMEOUT"),
    (chunked(json.dumps(chat()).encode(), [5])[:-2], "BODY_TIMEOUT"),
])
def test_requests_that_stop_are_told(proxy, sent, setting):
    daemon, behind = proxy(ok, **{setting: "300ms"})
    with Client(daemon.port) as client:
        for again in (False, True):
            if again:  # the deadline holds for the second request as well
                assert client.ask("/healthz").status == 200
                began = time.monotonic()
                client.send(sent)
                answer = client.answer()
                assert time.monotonic() - began >= 0.29
                assert answer.status == 408
                assert answer.error["code"] == "request_timeout"
                assert answer.header("Connection") == "close"
                assert client.closed()
    assert daemon.wait_access(2)[-1]["cause"] == "timeout"
    assert not behind.requests


@pytest.mark.parametrize("before", [b"", request("/healthz")])
def test_idle_connections_close_silently(proxy, before):
    daemon, _ = proxy(HEAD_TIMEOUT="300ms", KEEPALIVE_TIMEOUT="300ms")
    with Client(daemon.port) as client:
        if before:
            client.send(before)
            assert client.answer().status == 200
        assert client.closed()


def test_a_slow_but_steady_body_is_in_time(proxy):
    """BODY_TIMEOUT bounds the silence, not the whole."""
    daemon, _ = proxy(ok, BODY_TIMEOUT=f"{500 * SLOW}ms")
    data = request(body=chat())
    with Client(daemon.port) as client:
        client.send(data[:-8])
        for at in range(-8, 0):
            time.sleep(0.1 * SLOW)
            client.send(data[at:at + 1 or None])
        assert client.answer().status == 200
