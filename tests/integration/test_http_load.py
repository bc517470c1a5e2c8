"""Bounds of the HTTP front under load and odd peers: connections, memory,
slow readers, resets, heads of backends; and the unix socket."""

import json
import re
import socket
import stat
import struct
import threading
import time

import pytest
from daemon import SLOW, eventually, run_daemon
from raw import Client, ask, chat, request

CHAT = "/v1/chat/completions"


def ok(_request, peer):
    peer.whole({"ok": 1})


def reset(client):
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                           struct.pack("ii", 1, 0))
    client.close()


# How many, how much --------------------------------------------------------

@pytest.mark.threads
def test_connections_over_the_limit_are_turned_away(proxy, workers):
    daemon, _ = proxy(ok, MAX_CONNECTIONS=3, WORKERS=workers)
    inside = [Client(daemon.port) for _ in range(3)]
    assert [c.ask("/healthz").status for c in inside] == [200] * 3
    with Client(daemon.port) as client:
        client.send(request(body=chat()))
        refused = client.answer()
        assert refused.status == 503
        assert refused.error["code"] == "overloaded"
        assert refused.header("Retry-After") == "1"
        assert refused.header("Connection") == "close"
        assert client.closed()
    assert [c.ask(body=chat()).status for c in inside] == [200] * 3
    inside.pop().close()
    eventually(lambda: ask(daemon.port, "/healthz").status == 200)
    for client in inside:
        client.close()


@pytest.mark.threads
def test_half_sent_bodies_share_a_budget(proxy, workers):
    """26 bodies of 40,000 bytes fit into a MiB, so 4 of 30 are refused, and
    their bytes are free again."""
    daemon, _ = proxy(ok, MAX_BODY_BYTES="1m", MAX_BUFFERED_BYTES="1m",
                      WORKERS=workers)
    body = json.dumps(chat()).encode()
    whole = request(body=body + b" " * (40_100 - len(body)))
    clients = [Client(daemon.port) for _ in range(30)]
    for client in clients:
        client.send(whole[:-100])
    refused = []

    def look():
        for client in clients:
            client.sock.settimeout(0.001)
            try:
                if client not in refused and client._more():
                    refused.append(client)
            except TimeoutError:
                pass
        return len(refused) >= 4

    eventually(look)
    for client in refused:
        client.sock.settimeout(10 * SLOW)
        answer = client.answer()
        assert answer.status == 503
        assert answer.error["code"] == "overloaded"
        assert answer.header("Retry-After") == "1"
    others = [client for client in clients if client not in refused]
    for client in others[:13]:
        client.sock.settimeout(10 * SLOW)
        client.send(whole[-100:])
        assert client.answer().status == 200
    for client in others[13:]:
        client.close()
    big = body + b" " * (1_000_000 - len(body))
    eventually(lambda: ask(daemon.port, body=big).status == 200)
    for client in clients:
        client.close()


@pytest.mark.threads
def test_a_reader_that_stops_is_bounded_and_ended(proxy, workers):
    """It holds up its backend, not the daemon's memory or its neighbours."""
    sent = [0]
    freed = threading.Event()
    piece = b"data: " + b"x" * 65_000 + b"\n\n"

    def handler(got, peer):
        if not got.json.get("stream"):
            ok(got, peer)
            return
        try:
            peer.sse_head()
            for _ in range(1000):
                peer.chunk(piece)
                sent[0] += len(piece)
        finally:
            freed.set()

    daemon, _ = proxy(handler, WORKERS=workers, WRITE_TIMEOUT=f"{2 * SLOW}s")
    ask(daemon.port, body=chat())
    before = daemon.rss_anon_kib()
    with Client(daemon.port, receive_buffer=4096) as client:
        client.send(request(body=chat(stream=True)))
        assert client.head().status == 200
        seen = -1
        while sent[0] != seen:  # until the backend is held up
            seen = sent[0]
            time.sleep(0.3 * SLOW)
        assert 0 < seen < 32 << 20
        assert not freed.is_set()
        grown = daemon.rss_anon_kib() - before
        assert grown < (4 << 10) * (1 if SLOW == 1 else 8), grown
        assert ask(daemon.port, body=chat()).status == 200
        assert freed.wait(10 * SLOW)
        gone = [line for line in daemon.wait_access(3)
                if line["cause"] == "client_gone"]
        assert len(gone) == 1 and gone[0]["status"] == "499"
    assert sent[0] < 32 << 20


def test_a_reader_that_is_slow_gets_all_of_it(proxy):
    """A pause longer than what marks and buffers hold loses no byte."""
    body = bytes(range(256)) * (16 << 10)

    def handler(_request, peer):
        peer.whole(body, content_type="application/octet-stream")

    daemon, _ = proxy(handler)
    with Client(daemon.port, receive_buffer=32768) as client:
        client.send(request(body=chat()))
        answer = client.head()
        time.sleep(0.2 * SLOW)
        assert client.rest(answer).body == body


# Peers that reset ------------------------------------------------------------

@pytest.mark.threads
@pytest.mark.parametrize("sent, arrives, answered", [
    (b"", 0, False),
    (b"POST /v1/chat", 0, False),
    (request(body=chat())[:-10], 0, False),
    (request(CHAT, method="POST", headers=["Expect: 100-continue",
                                           "Content-Length: 9"]), 0, True),
    (request("/nope", body=b"x" * 20)[:-5], 0, True),
    (request("/healthz"), 0, True),
    (request(body=chat()), 1, False),
    (request(body=chat()) * 3, 1, False),
    (request(body=chat(stream=True)), 1, True),
    (request(body=chat("ollama:m", stream=True)), 1, False),
], ids=["connected", "head", "body", "expect", "discard", "idle", "waiting",
        "pipelined", "streaming", "ollama"])
def test_a_reset_in_any_state_leaves_nothing(proxy, workers, sent, arrives,
                                             answered):
    left = threading.Event()

    def handler(got, peer):
        if got.json.get("stream") and got.path == CHAT:
            peer.sse_head()
            peer.sse({"n": 1})
        if peer.wait_closed(20 * SLOW):
            left.set()

    daemon, behind = proxy(handler, WORKERS=workers)
    clients = [Client(daemon.port) for _ in range(3)]
    for client in clients:
        client.send(sent)
        if answered:
            client.head()
    behind.wait_requests(3 * arrives)
    for client in clients:
        reset(client)
    if arrives:
        assert left.wait(5 * SLOW)
    assert ask(daemon.port, "/healthz").status == 200
    # A connection or an exchange that was lost would hold up the drain.
    daemon.signal(15)
    assert daemon.wait_exit(5) == 0
    assert "cut off" not in daemon.log
    assert len(behind.requests) == 3 * arrives


# What a backend sends in its head --------------------------------------------

@pytest.mark.parametrize("line", [
    b"X-Odd: a\x01b", b"X-Odd: a\x7fb", b"X-Odd: \xff\xfe",
    b"X-Odd: a\rX-Injected: 1", b"X-Odd: a\r X-Injected: 1",
    b"X-Odd: a\r\n X-Injected: 1", b"X-Odd: a\r\n\tX-Injected: 1",
    b"X-Odd: a\0X-Injected: 1", b"X-Request-Id: a\rX-Injected: 1",
    b"Content-Type: application/json\rX-Injected: 1",
    b"Retry-After: 1\x0bX-Injected: 1", b"X\x01Odd: 1", b": 1", b"NoColon",
])
@pytest.mark.parametrize("status", [200, 429])
def test_no_answer_head_is_split_by_a_backend(proxy, line, status):
    def handler(_request, peer):
        peer.send(b"HTTP/1.1 %d X\x01\r\nContent-Length: 2\r\n%s\r\n\r\n{}"
                  % (status, line))
        peer.close()

    daemon, _ = proxy(handler)
    with Client(daemon.port) as client:
        client.send(request(body=chat()))
        head = client._until(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 (%d|502) [ -~]+\r\n" % status, head)
    for field in head.split(b"\r\n")[1:]:
        assert re.fullmatch(rb"[A-Za-z0-9-]+: [\x20-\x7e\x80-\xff]*", field)
        assert not field.lower().startswith(b"x-injected"), head
    for text in (daemon.log, daemon.access_path.read_text()):
        assert re.fullmatch(r"[\x20-\x7e\n]*", text), text


# The unix socket -------------------------------------------------------------

def both(path):
    return {"LISTEN": f"127.0.0.1:0,unix:{path}"}


def test_unix_socket_beside_a_port(proxy, tmp_path):
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    daemon, _ = proxy(ok, **both(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert f"listening on unix:{path}\n" in daemon.log
    with Client(0, unix=str(path)) as client:
        assert client.ask(body=chat()).status == 200
    assert ask(daemon.port, body=chat()).status == 200
    assert {line["peer"].partition(":")[0]
            for line in daemon.wait_access(2)} == {"unix", "127.0.0.1"}
    # One that is in use is nobody else's, and stays in use.
    code, _, err = run_daemon("-c", daemon.config)
    assert code == 71
    assert f"cannot listen on unix:{path}" in err
    assert "in use" in err
    with Client(0, unix=str(path)) as client:
        assert client.ask("/healthz").status == 200
    daemon.stop()
    assert not path.exists()


def test_a_file_that_is_no_socket_stays(proxy, tmp_path):
    path = tmp_path / "notes"
    daemon, _ = proxy(ok)
    path.write_text("kept")
    daemon.write_config(**both(path))
    code, _, err = run_daemon("-c", daemon.config)
    assert (code, path.read_text()) == (71, "kept")
    assert str(path) in err
