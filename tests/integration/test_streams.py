"""Streams: nothing is held back, silence is filled, endings are honest, and a
client that leaves frees the backend."""

import contextlib
import pathlib
import socket
import statistics
import struct
import threading
import time

import pytest
from daemon import SLOW
from raw import Client, Closed, ask, chat, request

# A bound that a loaded machine keeps, and a piece that waits for the next one
# breaks: pieces are sent this far apart.
GAP = 0.15 * SLOW
FREED_SECONDS = 0.05 if SLOW == 1 else 0.5

ANSWER = {"model": "m", "created_at": "2026-09-01T08:31:00Z", "done": False}


def ollama_line(text, **more):
    return {**ANSWER, "message": {"role": "assistant", "content": text},
            **more}


def last_line():
    return ollama_line("", done=True, done_reason="stop",
                       prompt_eval_count=3, eval_count=2)


@pytest.mark.threads
def test_drips_are_seen_through_at_once(proxy, workers):
    stream = b'data: {"id":1}\n\ndata: {"id":2}\n\ndata: [DONE]\n\n'
    drips = [stream[at:at + 4] for at in range(0, len(stream), 4)]
    sent = []

    def handler(_request, peer):
        peer.sse_head()
        for drip in drips:
            sent.append(time.monotonic())
            peer.chunk(drip)
            time.sleep(GAP / 5)
        peer.end()

    daemon, _ = proxy(handler, WORKERS=workers)
    with Client(daemon.port) as client:
        client.send(request(body=chat(stream=True)))
        answer = client.rest(client.head())
    assert answer.body == stream
    assert len(answer.pieces) == len(drips)
    held = [got - at for (got, _), at in zip(answer.pieces, sent)]
    assert max(held) < GAP / 5, held
    if SLOW == 1:
        assert statistics.median(held) < 0.005, held


@pytest.mark.parametrize("model", ["vllm:m", "ollama:m"])
def test_a_piece_does_not_wait_for_the_next(proxy, model):
    gate = threading.Event()

    def handler(got, peer):
        if got.path == "/api/chat":
            peer.ndjson_head()
            peer.line(ollama_line("first"))
            gate.wait(20)
            peer.line(last_line())
        else:
            peer.sse_head()
            peer.sse({"first": 1})
            gate.wait(20)
            peer.sse("[DONE]")
        peer.end()

    daemon, _ = proxy(handler)
    with Client(daemon.port) as client:
        client.send(request(body=chat(model, stream=True)))
        answer = client.head()
        assert b"first" in client.chunk(answer)
        gate.set()
        assert client.rest(answer).body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("model", ["vllm:m", "ollama:m"])
def test_silence_is_filled_with_comments(proxy, model):
    gate = threading.Event()

    def handler(got, peer):
        gate.wait(20)
        if got.path == "/api/chat":
            peer.ndjson_head()
            peer.line(last_line())
        else:
            peer.sse_head()
            peer.sse("[DONE]")
        peer.end()

    daemon, _ = proxy(handler, SSE_KEEPALIVE="50ms")
    with Client(daemon.port) as client:
        client.send(request(body=chat(model, stream=True)))
        answer = client.head()
        assert answer.status == 200
        assert answer.header("Content-Type").startswith("text/event-stream")
        assert client.chunk(answer) == b": keep-alive\n\n"
        assert client.chunk(answer) == b": keep-alive\n\n"
        gate.set()
        assert client.rest(answer).body.endswith(b"data: [DONE]\n\n")


def test_no_comment_inside_an_event(proxy):
    def handler(_request, peer):
        peer.sse_head()
        peer.chunk(b'data: {"id"')
        peer.pause(0.4 * SLOW)
        peer.chunk(b':1}\n\ndata: [DONE]\n\n')
        peer.end()

    daemon, _ = proxy(handler, SSE_KEEPALIVE="50ms")
    answer = ask(daemon.port, body=chat(stream=True))
    assert b'data: {"id":1}\n\n' in answer.body


def test_an_error_after_a_comment_is_an_event(proxy):
    def handler(_request, peer):
        peer.pause(0.3 * SLOW)
        peer.whole({"error": {"message": "boom", "type": "InternalServerError",
                              "param": None, "code": 500}}, status=500)

    daemon, _ = proxy(handler, SSE_KEEPALIVE="50ms")
    answer = broken_stream(daemon)
    assert answer.status == 200
    assert answer.events[-1]["error"]["message"] == "boom"


def broken_stream(daemon, model="vllm:m"):
    """Reads a stream that must end without its last chunk."""
    with Client(daemon.port) as client:
        client.send(request(body=chat(model, stream=True)))
        answer = client.head()
        with pytest.raises(Closed):
            client.rest(answer)
    assert b"[DONE]" not in answer.body
    return answer


@pytest.mark.parametrize("ending", ["close", "reset", "clean"])
@pytest.mark.parametrize("model", ["vllm:m", "ollama:m"])
def test_a_broken_stream_ends_with_an_error_event(proxy, model, ending):
    def handler(got, peer):
        if got.path == "/api/chat":
            peer.ndjson_head()
            peer.line(ollama_line("half"))
        else:
            peer.sse_head()
            peer.sse({"half": 1})
        time.sleep(0.1)
        {"close": peer.close, "reset": peer.reset, "clean": peer.end}[ending]()

    daemon, _ = proxy(handler)
    answer = broken_stream(daemon, model)
    assert b"half" in answer.body
    error = answer.events[-1]["error"]
    assert (error["type"], error["code"]) == ("server_error", "backend_error")


def test_a_stream_cut_inside_an_event_gets_no_event_of_ours(proxy):
    def handler(_request, peer):
        peer.sse_head()
        peer.chunk(b'data: {"id":1}\n\ndata: {"id":2,"t":"half')
        time.sleep(0.1)
        peer.close()

    answer = broken_stream(proxy(handler)[0])
    assert answer.body == b'data: {"id":1}\n\ndata: {"id":2,"t":"half'


@pytest.mark.parametrize("cut", [1, 5, 17, 1000])
def test_a_backends_error_event_is_rewritten_and_its_done_dropped(proxy, cut):
    stream = (b'data: {"id":1}\n\n'
              b'data: {"error":{"message":"engine died","type":'
              b'"InternalServerError","param":null,"code":500}}\n\n'
              b'data: [DONE]\n\n')

    def handler(_request, peer):
        peer.sse_head()
        for at in range(0, len(stream), cut):
            peer.chunk(stream[at:at + cut])
            time.sleep(0.002)
        peer.end()

    answer = broken_stream(proxy(handler)[0])
    assert answer.events[0] == {"id": 1}
    assert answer.events[1] == {"error": {
        "message": "engine died", "type": "server_error", "param": None,
        "code": "backend_error"}}
    assert len(answer.events) == 2


def test_an_error_as_the_first_event_still_has_a_status(proxy):
    def handler(_request, peer):
        peer.sse_head()
        peer.sse({"error": {"message": "no", "type": "BadRequestError",
                            "param": None, "code": 400}})
        peer.sse("[DONE]")
        peer.end()

    answer = ask(proxy(handler)[0].port, body=chat(stream=True))
    assert answer.status >= 400
    assert answer.error["message"] == "no"


def test_silence_in_mid_stream_has_a_limit(proxy):
    def handler(_request, peer):
        peer.sse_head()
        peer.sse({"half": 1})
        peer.wait_closed(20)

    daemon, _ = proxy(handler, STREAM_IDLE_TIMEOUT="200ms")
    answer = broken_stream(daemon)
    assert answer.events[-1]["error"]["code"] == "backend_timeout"


class Leaver:
    """A backend that notes when its peer has gone."""

    def __init__(self, phase):
        self.phase = phase
        self.ready = threading.Event()
        self.freed = None
        self.noticed = threading.Event()

    def __call__(self, got, peer):
        if self.phase == "stream":
            if got.path == "/api/chat":
                peer.ndjson_head()
                peer.line(ollama_line("x"))
            else:
                peer.sse_head()
                peer.sse({"x": 1})
        elif self.phase == "body":
            peer.head(200, "application/json", 1000)
            peer.send(b'{"half":')
        self.ready.set()
        self.freed = peer.wait_closed(10 * SLOW)
        self.noticed.set()
        peer.close()


@pytest.mark.threads
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("model", ["vllm:m", "ollama:m"])
@pytest.mark.parametrize("phase", ["wait", "wait-stream", "stream", "body"])
def test_a_client_that_leaves_frees_the_backend(proxy, phase, model, how):
    leaver = Leaver(phase)
    daemon, _ = proxy(leaver)
    client = Client(daemon.port)
    client.send(request(body=chat(model, stream="stream" in phase)))
    assert leaver.ready.wait(10)
    if phase == "stream":
        client.chunk(client.head())
    left = time.monotonic()
    if how == "reset":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               struct.pack("ii", 1, 0))
    client.close()
    assert leaver.noticed.wait(10 * SLOW)
    assert leaver.freed is not None
    assert leaver.freed - left < FREED_SECONDS
    assert daemon.wait_access()[-1]["cause"] == "client_gone"


@pytest.mark.threads
def test_a_client_that_leaves_while_connecting_frees_the_socket(daemon):
    # A full accept queue: the kernel drops further SYNs.
    with socket.socket() as hole, contextlib.ExitStack() as fillers:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        one = daemon(VLLM_BASE_URL=f"http://127.0.0.1:{hole.getsockname()[1]}",
                     CONNECT_TIMEOUT="20s", tokens=[
                         {"token": "demo-key-123", "label": "d", "rpm": 9}])
        fds = pathlib.Path(f"/proc/{one.pid}/fd")
        before = len(list(fds.iterdir()))
        client = Client(one.port)
        client.send(request(body=chat()))
        end = time.monotonic() + 10
        while len(list(fds.iterdir())) < before + 2:
            assert time.monotonic() < end, "no connection was begun"
            time.sleep(0.01)
        client.close()
        assert one.wait_access()[-1]["cause"] == "client_gone"
        assert len(list(fds.iterdir())) == before
        # Nothing reached the backend, so nothing was spent.
        told = ask(one.port, body=b"{")
        assert told.header("x-ratelimit-remaining-requests") == "9"


def test_a_half_closed_client_counts_as_gone(proxy):
    leaver = Leaver("wait")
    daemon, _ = proxy(leaver)
    with Client(daemon.port) as client:
        client.send(request(body=chat()))
        assert leaver.ready.wait(10)
        client.sock.shutdown(1)
        assert leaver.noticed.wait(10)


@pytest.mark.threads
def test_many_streams_at_once(proxy, workers):
    daemon, _ = proxy(WORKERS=workers)
    clients = [Client(daemon.port) for _ in range(60)]
    for number, client in enumerate(clients):
        model = "vllm:demo" if number % 2 else "ollama:demo"
        client.send(request(body=chat(model, stream=True)))
    for client in clients:
        answer = client.answer()
        assert answer.status == 200
        assert answer.events[-1] == "[DONE]"
        client.close()
    assert len(daemon.wait_access(60)) == 60
