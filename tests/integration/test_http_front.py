"""The client's side of HTTP: keep-alive, pipelining, bodies, deadlines, and
what the daemon refuses before it holds too much."""

import contextlib
import json
import re
import socket
import threading
import time

import pytest
from daemon import SLOW
from raw import Client, ask, chat, request

BODY = json.dumps(chat()).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\n" \
       b"Authorization: Bearer demo-key-123\r\n"


def ok(_request, peer):
    peer.whole({"ok": 1})


def echo(got, peer):
    peer.whole({"said": got.json["messages"][0]["content"]})


@pytest.fixture
def port(proxy):
    return proxy(ok)[0].port


# Requests on a connection

def test_keep_alive(port):
    with Client(port) as client:
        for _ in range(5):
            assert client.ask(body=chat()).json == {"ok": 1}


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close"])
def test_connection_close(port, value):
    with Client(port) as client:
        answer = client.ask(body=chat(), headers=[f"Connection: {value}"])
        assert answer.status == 200
        assert answer.header("Connection") == "close"
        assert client.closed()


@pytest.mark.parametrize("piece", [0, 7])
def test_pipelined_requests_are_answered_in_order(proxy, workers, piece):
    def slow_then_fast(got, peer):
        if got.json["messages"][0]["content"] == "0":
            peer.pause(0.1)
        echo(got, peer)

    daemon, behind = proxy(slow_then_fast, WORKERS=workers)
    with Client(daemon.port) as client:
        client.send(b"".join(request(body=chat(text=str(n)))
                             for n in range(10)), piece)
        said = [client.answer().json["said"] for _ in range(10)]
    assert said == [str(n) for n in range(10)]
    assert len(behind.requests) == 10


def test_a_request_behind_a_stream_waits_for_its_end(proxy):
    gate = threading.Event()

    def handler(got, peer):
        if not got.json.get("stream"):
            peer.whole({"ok": 1})
            return
        peer.sse_head()
        peer.sse({"id": 1})
        gate.wait(20)
        peer.sse("[DONE]")
        peer.end()

    daemon, behind = proxy(handler)
    with Client(daemon.port) as client:
        client.send(request(body=chat(stream=True)) + request(body=chat()))
        stream = client.head()
        client.chunk(stream)
        assert len(behind.requests) == 1
        gate.set()
        assert client.rest(stream).events[-1] == "[DONE]"
        assert client.answer().json == {"ok": 1}


def test_http_1_0_ends_with_the_connection(port):
    with Client(port) as client:
        answer = client.ask(body=chat(), version="1.0")
        assert answer.status == 200
        assert answer.header("Transfer-Encoding") is None
        assert client.closed()


def test_http_1_0_can_keep_a_connection_of_known_length(port):
    with Client(port) as client:
        for _ in range(2):
            answer = client.ask(body=chat(), version="1.0",
                                headers=["Connection: keep-alive"])
            assert answer.header("Connection") == "keep-alive"
            assert answer.json == {"ok": 1}


def test_a_stream_to_http_1_0_has_no_chunks(proxy):
    def handler(_request, peer):
        peer.sse_head()
        peer.sse({"id": 1})
        peer.sse("[DONE]")
        peer.end()

    with Client(proxy(handler)[0].port) as client:
        client.send(request(body=chat(stream=True), version="1.0",
                            headers=["Connection: keep-alive"]))
        answer = client.answer()
    assert answer.header("Transfer-Encoding") is None
    assert answer.header("Connection") == "close"
    assert answer.body == b'data: {"id": 1}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunked_requests(proxy, size):
    daemon, behind = proxy(ok)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in
                      (BODY[at:at + size] for at in range(0, len(BODY), size)))
    with Client(daemon.port) as client:
        for _ in range(2):
            client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
                        + b"0\r\nX-Trailer: dropped\r\n\r\n")
            assert client.answer().json == {"ok": 1}
    got = behind.requests[-1]
    assert got.json == chat("m")
    assert got.header("Content-Length") == str(len(got.body))
    assert got.header("X-Trailer") is None


@pytest.mark.parametrize("cut", range(0, 130, 13))
def test_a_head_may_come_in_two_parts(port, cut):
    data = request(body=chat())
    with Client(port) as client:
        client.send(data[:cut])
        time.sleep(0.01)
        client.send(data[cut:])
        assert client.answer().json == {"ok": 1}


# Expect, HEAD, OPTIONS

def test_expect_100_continue(port):
    with Client(port) as client:
        client.send(HEAD + b"Expect: 100-continue\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(BODY))
        assert client.head().status == 100
        client.send(BODY)
        assert client.answer().json == {"ok": 1}


def test_no_100_for_a_request_that_is_refused(port):
    with Client(port) as client:
        client.send(HEAD.replace(b"demo-key-123", b"wrong-key-123")
                    + b"Expect: 100-continue\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(BODY))
        assert client.answer().status == 401


def test_an_unknown_expectation(port):
    answer = ask(port, body=chat(), headers=["Expect: the-unexpected"])
    assert answer.status == 417


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models"])
def test_head_is_get_without_a_body(proxy, path):
    with Client(proxy()[0].port) as client:
        full = client.ask(path)
        bare = client.ask(path, method="HEAD")
        assert bare.status == full.status == 200
        assert bare.header("Content-Length") == str(len(full.body))
        assert client.ask(path).body == full.body


@pytest.mark.parametrize("path, allow", [
    ("/v1/chat/completions", "POST, OPTIONS"),
    ("/v1/models", "GET, HEAD, OPTIONS"),
    ("*", "GET, HEAD, POST, OPTIONS")])
def test_options(port, path, allow):
    answer = ask(port, path, method="OPTIONS", token=None)
    assert answer.status == 204
    assert answer.header("Allow") == allow
    names = [name.lower() for name, _ in answer.headers]
    assert not [n for n in names if n.startswith("access-control-")]


@pytest.mark.parametrize("method, path", [
    ("GET", "/v1/chat/completions"), ("HEAD", "/v1/chat/completions"),
    ("DELETE", "/v1/models"), ("POST", "/v1/models"), ("PUT", "/healthz")])
def test_wrong_method(port, method, path):
    with Client(port) as client:
        answer = client.ask(path, method=method)
        assert answer.status == 405
        assert answer.header("Allow")
        if method != "HEAD":
            assert answer.error["code"] == "method_not_supported"


@pytest.mark.parametrize("path, hint", [
    ("/chat/completions", "/v1 in the base URL"),
    ("/v1/chat/completions/", "mean /v1/chat/completions?"),
    ("/v1//chat/completions", "mean /v1/chat/completions?"),
    ("/v1/nothing", ""), ("/", ""), ("/internal/authz", ""),
    ("/metrics", ""), ("/v1/Chat/Completions", ""),
    ("/v1/%63hat/completions", "")])
def test_unknown_paths(port, path, hint):
    answer = ask(port, path, chat())
    assert answer.status == 404
    assert answer.error["code"] == "unknown_url"
    assert hint in answer.error["message"]


def test_a_query_does_not_change_the_path(port):
    assert ask(port, "/v1/chat/completions?api-version=1",
               chat()).status == 200


@pytest.mark.parametrize("value, status", [
    ("application/json", 200), ("APPLICATION/JSON; charset=utf-8", 200),
    ("text/plain", 415), ("multipart/form-data; boundary=x", 415)])
def test_content_types(port, value, status):
    data = request(body=chat()).replace(
        b"Content-Type: application/json",
        b"Content-Type: " + value.encode())
    with Client(port) as client:
        client.send(data)
        assert client.answer().status == status


def test_a_missing_content_type_is_json(port):
    with Client(port) as client:
        client.send(request(body=chat()).replace(
            b"Content-Type: application/json\r\n", b""))
        assert client.answer().status == 200


def test_compressed_requests_are_refused(port):
    answer = ask(port, body=chat(), headers=["Content-Encoding: gzip"])
    assert (answer.status, answer.error["code"]) == (415,
                                                     "unsupported_encoding")


# Heads of answers

def test_request_ids(port):
    made = ask(port, body=chat()).header("X-Request-Id")
    assert re.fullmatch(r"req_[0-9a-f]{24}", made)
    assert ask(port, body=chat()).header("X-Request-Id") != made
    kept = ask(port, body=chat(), headers=["X-Request-Id: my-id.7"])
    assert kept.header("X-Request-Id") == "my-id.7"
    for odd in ("a b", "x" * 300, 'a"b', "<script>"):
        answer = ask(port, body=chat(), headers=[f"X-Request-Id: {odd}"])
        assert answer.header("X-Request-Id").startswith("req_")


def test_every_answer_has_the_common_fields(proxy):
    daemon, _ = proxy(ok)
    for arguments in ({"body": chat()}, {"path": "/nope"},
                      {"body": chat(), "token": None}, {"path": "/healthz"},
                      {"body": b"{bad"}, {"path": "/v1/models"}):
        answer = ask(daemon.port, **arguments)
        names = [name.lower() for name, _ in answer.headers]
        for name in ("date", "content-type", "content-length",
                     "x-request-id"):
            assert names.count(name) == 1, (arguments, names)


# Deadlines

@pytest.mark.parametrize("sent", [
    b"POST /v1/chat", HEAD, HEAD + b"Content-Length: 10\r\n\r",
    HEAD + b"Content-Length: 100\r\n\r\n{",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"],
    ids=["line", "head", "empty line", "body", "chunk"])
def test_an_unfinished_request_times_out(proxy, sent):
    daemon, behind = proxy(ok, HEAD_TIMEOUT="300ms", BODY_TIMEOUT="300ms")
    with Client(daemon.port) as client:
        client.send(sent)
        answer = client.answer()
        assert answer.status == 408
        assert answer.error["code"] == "request_timeout"
        assert client.closed()
    assert behind.requests == []
    assert daemon.wait_access()[0]["cause"] == "timeout"


def test_a_head_that_drips_has_one_deadline(proxy):
    daemon, _ = proxy(ok, HEAD_TIMEOUT="500ms")
    with Client(daemon.port) as client:
        begin = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in HEAD + b"X-Long: " + b"a" * 10_000:
                client.send(bytes([byte]))
                client.sock.settimeout(0.02)
                with contextlib.suppress(TimeoutError):
                    if client.sock.recv(12) == b"HTTP/1.1 408":
                        break
        assert time.monotonic() - begin < 5 * SLOW


def test_an_idle_connection_is_closed(proxy):
    daemon, _ = proxy(ok, KEEPALIVE_TIMEOUT="200ms", HEAD_TIMEOUT="200ms")
    with Client(daemon.port) as fresh, Client(daemon.port) as used:
        assert used.ask(body=chat()).status == 200
        assert used.closed() and fresh.closed()


def test_a_body_that_comes_slowly_but_steadily_is_read(proxy):
    daemon, _ = proxy(ok, BODY_TIMEOUT=f"{400 * SLOW}ms")
    data = request(body=chat(text="x" * 40))
    with Client(daemon.port) as client:
        client.send(data[:-80])
        for at in range(len(data) - 80, len(data), 8):
            time.sleep(0.06)
            client.send(data[at:at + 8])
        assert client.answer().status == 200


# Bounds

def body_of(size):
    start = b'{"model":"vllm:m","x":"'
    return start + b"a" * (size - len(start) - 2) + b'"}'


@pytest.mark.parametrize("chunked", [False, True])
def test_max_body_bytes(proxy, chunked):
    daemon, behind = proxy(ok, MAX_BODY_BYTES=10_000)
    for size, status in ((10_000, 200), (10_001, 413)):
        body = body_of(size)
        with Client(daemon.port) as client:
            if chunked:
                client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
                            b"%x\r\n%s\r\n0\r\n\r\n" % (size, body))
            else:
                client.send(request(body=body))
            answer = client.answer()
            assert answer.status == status
            if status == 413:
                assert answer.error["code"] == "request_too_large"
                assert answer.header("Connection") == "close"
                assert client.closed()
    assert len(behind.requests) == 1


def test_a_declared_size_is_refused_before_the_body_comes(proxy):
    daemon, _ = proxy(ok, MAX_BODY_BYTES="1m")
    with Client(daemon.port) as client:
        client.send(HEAD + b"Content-Length: 1048577\r\n\r\n")
        assert client.answer().status == 413


def test_max_connections(proxy, workers):
    daemon, _ = proxy(ok, MAX_CONNECTIONS=3, WORKERS=workers)
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(Client(daemon.port)) for _ in range(3)]
        for client in first:
            assert client.ask(body=chat()).status == 200
        answer = ask(daemon.port, body=chat())
        assert (answer.status, answer.error["code"]) == (503, "overloaded")
        assert answer.header("Retry-After") == "1"
        assert first[0].ask(body=chat()).status == 200
        first[1].close()
        end = time.monotonic() + 10 * SLOW
        while ask(daemon.port, body=chat()).status != 200:
            assert time.monotonic() < end


def test_buffered_bodies_have_a_common_budget(proxy):
    daemon, behind = proxy(ok, MAX_BODY_BYTES="4m", MAX_BUFFERED_BYTES="6m",
                           WORKERS=1)
    body = body_of(4_000_000)
    with Client(daemon.port) as first, Client(daemon.port) as second:
        first.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
                   + body[:-1])
        # So that the second one comes upon a budget that is used up.
        assert ask(daemon.port, "/healthz").status == 200
        end = time.monotonic() + 10 * SLOW
        while daemon.rss_anon_kib() < 3500 and time.monotonic() < end:
            time.sleep(0.01)
        second.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        with contextlib.suppress(OSError):
            second.send(body[:-1])
        answer = second.answer()
        assert (answer.status, answer.error["code"]) == (503, "overloaded")
        assert answer.header("Retry-After") == "1"
        first.send(body[-1:])
        assert first.answer().status == 200
    assert len(behind.requests) == 1
    # All of it was given back.
    assert ask(daemon.port, body=body).status == 200


FLOOD = 32 * 1024 * 1024
PIECE = b"data: " + b"x" * 65_000 + b"\n\n"


def test_a_slow_reader_is_not_buffered_without_bound(proxy):
    sent = [0]

    def flood(_request, peer):
        peer.sse_head()
        while sent[0] < FLOOD:
            peer.chunk(PIECE)
            sent[0] += len(PIECE)
        peer.sse("[DONE]")
        peer.end()

    daemon, _ = proxy(flood, WORKERS=1)
    before = daemon.rss_anon_kib()
    with Client(daemon.port, receive_buffer=4096) as client:
        client.send(request(body=chat(stream=True)))
        answer = client.head()
        # Until the backend cannot get rid of any more.
        last, since = -1, time.monotonic()
        while time.monotonic() - since < 0.5 * SLOW:
            if sent[0] != last:
                last, since = sent[0], time.monotonic()
            time.sleep(0.02)
        assert sent[0] < FLOOD // 2
        assert daemon.rss_anon_kib() - before < 4096 * SLOW
        # Nobody else has to wait for it.
        assert ask(daemon.port, "/healthz").status == 200
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        body = client.rest(answer).body
    assert len(body) == sent[0] + len(b"data: [DONE]\n\n")
    assert daemon.wait_access(2)[-1]["cause"] == "done"


def test_a_reader_that_takes_nothing_is_dropped(proxy):
    gone = threading.Event()

    def flood(_request, peer):
        peer.sse_head()
        try:
            for _ in range(FLOOD // len(PIECE)):
                peer.chunk(PIECE)
        finally:
            gone.set()

    daemon, _ = proxy(flood, WRITE_TIMEOUT="500ms")
    with Client(daemon.port, receive_buffer=4096) as client:
        client.send(request(body=chat(stream=True)))
        assert gone.wait(20 * SLOW)
        assert daemon.wait_access()[0]["cause"] == "client_gone"
