"""A request whose kept-alive connection was dead goes out again, whole,
whatever the client was told meanwhile."""

import itertools
import threading
import time

import pytest
from daemon import SLOW
from raw import Client, ask, chat, request

# No prefix, so that the backend gets the client's very bytes; long, so that
# memory which was given back shows.
LONG = {**chat("m", stream=True), "x": "y" * 20_000}


@pytest.mark.threads
def test_after_a_comment_the_request_is_still_whole(proxy, workers):
    count = itertools.count()
    bodies = []

    def handler(got, peer):
        number = next(count)
        bodies.append(got.json)
        if number == 0:
            peer.whole({"ok": 1})
        elif number == 1:
            time.sleep(0.4 * SLOW)
            peer.reset()
        else:
            peer.sse_head()
            peer.sse("[DONE]")
            peer.end()

    daemon, _ = proxy(handler, WORKERS=workers, SSE_KEEPALIVE="100ms",
                      DEFAULT_BACKEND="vllm")
    with Client(daemon.port) as client:
        assert client.ask(body=chat("m")).status == 200
        client.send(request(body=LONG))
        answer = client.answer()
    assert answer.body.startswith(b": keep-alive\n\n")
    assert answer.events == ["[DONE]"]
    assert bodies[1:] == [LONG, LONG]
    assert daemon.wait_access(2)[1]["resent"] == "1"


def test_a_queued_request_gets_no_comment_and_is_whole(proxy):
    gate = threading.Event()
    bodies = []

    def handler(got, peer):
        bodies.append(got.json)
        if got.json.get("stream"):
            peer.sse_head()
            peer.sse("[DONE]")
            peer.end()
            return
        gate.wait(20)
        peer.whole({"ok": 1})

    daemon, behind = proxy(handler, WORKERS=1, SSE_KEEPALIVE="100ms",
                           DEFAULT_BACKEND="vllm", BACKEND_MAX_INFLIGHT=1)
    wide = {**chat("m"), "x": "z" * 30_000}
    gate.set()
    for _ in range(2):
        assert ask(daemon.port, body=wide).status == 200
    gate.clear()
    with Client(daemon.port) as holder, Client(daemon.port) as client:
        holder.send(request(body=wide))
        behind.wait_requests(3)
        client.send(request(body=LONG))
        time.sleep(0.3 * SLOW)
        gate.set()
        answer = client.answer()
        assert answer.body == b"data: [DONE]\n\n"
        assert holder.answer().status == 200
    assert bodies[-1] == LONG
    waited = [line for line in daemon.wait_access(4) if line["in"] < "30000"]
    assert int(waited[0]["queue_ms"]) >= 200


def test_bodies_of_open_streams_are_not_kept(proxy):
    gate = threading.Event()

    def handler(_, peer):
        peer.sse_head()
        peer.sse({"n": 1})
        gate.wait(20)
        peer.sse("[DONE]")
        peer.end()

    daemon, _ = proxy(handler, WORKERS=1)
    before = daemon.rss_anon_kib()
    clients = [Client(daemon.port) for _ in range(10)]
    for client in clients:
        client.send(request(body=chat(stream=True, text="x" * 2_000_000)))
        client.chunk(client.head())
    if SLOW == 1:
        assert daemon.rss_anon_kib() - before < 6 << 10
    gate.set()
    for client in clients:
        client.close()
