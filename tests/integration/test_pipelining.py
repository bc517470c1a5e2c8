"""Several requests on one connection: in order, at once, and bounded."""

import json
import queue
import socket
import struct
import threading
import time

import pytest
from daemon import SLOW
from raw import TOKEN, Client, Closed, ask, chat, request, settle



def test_a_chat_behind_a_list_of_models_does_not_wait(proxy):
    # Without an access log nothing else wakes the loop.
    daemon, _ = proxy(lambda got, peer: peer.whole(
        {"ok": 1} if got.path.startswith("/v1/chat")
        else {"models": [], "object": "list", "data": []}),
        WORKERS=1, ACCESS_LOG=None)
    with Client(daemon.port) as client:
        client.ask("/v1/models")
        client.ask(body=chat())
        settle(daemon.port)
        for behind in (request(body=chat()), request("/v1/models")):
            began = time.monotonic()
            client.send(request("/v1/models") + behind)
            assert client.answer().status == 200
            assert client.answer().status == 200
            assert time.monotonic() - began < 0.15 * SLOW


@pytest.mark.parametrize("token", [TOKEN, None])
def test_who_never_reads_is_cut_off(proxy, token):
    daemon, _ = proxy(WORKERS=1)
    before = daemon.rss_anon_kib()
    with Client(daemon.port, receive_buffer=4096) as client:
        client.sock.settimeout(20 * SLOW)
        if token:
            assert client.ask("/v1/models").status == 200
        with pytest.raises(ConnectionError):
            client.send(request("/x", token=None) * 1_000_000)
    if SLOW == 1:
        assert daemon.rss_anon_kib() - before < 6 << 10
    assert ask(daemon.port, "/healthz", token=None).status == 200


def test_who_reads_late_gets_every_answer(proxy):
    daemon, _ = proxy(WORKERS=1)
    with Client(daemon.port, receive_buffer=4096) as client:
        client.sock.settimeout(20 * SLOW)
        client.send(request("/healthz", token=None) * 400)
        time.sleep(0.2)
        for _ in range(400):
            assert client.answer().status == 200


@pytest.mark.threads
def test_a_long_request_behind_a_stream_waits(proxy, workers):
    def handler(got, peer):
        if not got.json.get("stream"):
            peer.whole({"size": len(got.body)})
            return
        peer.sse_head()
        for n in range(10):
            peer.sse({"n": n})
            peer.pause(0.05)
        peer.sse("[DONE]")
        peer.end()

    daemon, _ = proxy(handler, WORKERS=workers)
    with Client(daemon.port) as client:
        client.send(request(body=chat(stream=True)))
        answer = client.head()
        client.chunk(answer)
        body = json.dumps(chat(text="x" * 60_000)).encode()
        client.send(request(body=body))
        assert client.rest(answer).events[-1] == "[DONE]"
        assert client.answer().json["size"] == len(body) - len("vllm:")
    assert [line["cause"] for line in daemon.wait_access(2)] == ["done"] * 2


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ahead", [0, 60_000])
def test_who_leaves_with_a_full_pipeline_frees_the_backend(proxy, ahead,
                                                           stream, reset):
    freed = queue.Queue()

    def handler(_, peer):
        if stream:
            peer.sse_head()
            peer.sse({"n": 1})
        freed.put(peer.wait_closed(10))

    daemon, backend = proxy(handler, WORKERS=1)
    with Client(daemon.port) as client:
        client.send(request(body=chat(stream=stream)))
        if stream:
            client.chunk(client.head())
        backend.wait_requests(1)
        client.send(request(body=chat(text="x" * 60_000))[:ahead])
        settle(daemon.port)
        if reset:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                   struct.pack("ii", 1, 0))
        left = time.monotonic()
    assert daemon.wait_access(1)[0]["cause"] == "client_gone"
    assert freed.get(timeout=20) - left < 0.2 * SLOW


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_who_sends_too_much_ahead_is_cut_off(proxy, stream, reset):
    freed = threading.Event()

    def handler(_, peer):
        if stream:
            peer.sse_head()
            peer.sse({"n": 1})
        if peer.wait_closed(10):
            freed.set()

    daemon, backend = proxy(handler, WORKERS=1)
    with Client(daemon.port) as client:
        client.send(request(body=chat(stream=stream)))
        answer = client.head() if stream else None
        backend.wait_requests(1)
        client.send(request(body=chat(text="x" * 200_000)))
        assert freed.wait(5)
        if stream:
            with pytest.raises(Closed):
                client.rest(answer)
            assert answer.events[-1]["error"]["code"] == "malformed_http"
        else:
            answer = client.answer()
            assert answer.status == 400
            assert answer.error["code"] == "malformed_http"
        assert client.sock.recv(1) == b""
        if reset:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                   struct.pack("ii", 1, 0))
    assert daemon.wait_access(1)[0]["cause"] == "client_error"
    assert daemon.cpu_share(0.3) < 0.2


def test_what_is_sent_behind_the_last_answer_is_taken_and_dropped(proxy):
    daemon, backend = proxy(lambda _, peer: peer.pause(20), WORKERS=1,
                            FIRST_BYTE_TIMEOUT="300ms")
    with Client(daemon.port) as client:
        client.send(request(body=chat(), version="1.0"))
        backend.wait_requests(1)
        client.send(b"x" * 60_000)
        assert client.answer().status == 504
        # Not read, this would fill the kernel's buffers and end in a reset.
        client.send(b"x" * 20_000_000)
        assert client.sock.recv(1) == b""


def test_an_answer_that_is_being_read_outlives_the_idle_time(proxy):
    daemon, _ = proxy(lambda _, peer: peer.whole({"x": "y" * 4_000_000}),
                      KEEPALIVE_TIMEOUT="50ms", WORKERS=1)
    with Client(daemon.port, receive_buffer=4096) as client:
        client.send(request(body=chat()))
        answer = client.head()
        size = int(answer.header("Content-Length"))
        taken = len(client.buffer)
        while taken < size:
            data = client.sock.recv(65536)
            assert data, f"closed after {taken} bytes"
            taken += len(data)
            time.sleep(0.004)
        client.buffer = b""
        assert client.closed()
    assert int(daemon.wait_access(1)[0]["out"]) > size


def test_bytes_are_counted_where_they_belong(proxy):
    daemon, _ = proxy(lambda _, peer: peer.whole({"x": "y" * 3_000_000}),
                      WORKERS=1)
    with Client(daemon.port, receive_buffer=4096) as client:
        client.send(request(body=chat()) + request("/healthz", token=None))
        time.sleep(0.2)
        assert len(client.answer().body) > 3_000_000
        assert client.answer().status == 200
    first, second = daemon.wait_access(2)
    assert int(first["out"]) > 3_000_000
    assert int(second["out"]) < 1000
