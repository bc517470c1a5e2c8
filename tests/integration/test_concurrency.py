"""A token's `concurrency`: so many requests at a time, over all workers, and
the place is free again whatever ended the request."""

import concurrent.futures
import json
import threading

import pytest
from raw import Client, ask, chat, request


def at_once(most, **more):
    return [{"token": "demo-key-123", "label": "alice", "concurrency": most,
             **more}]


class Gate:
    """A backend that holds every request until the test lets it go."""

    def __init__(self):
        self.open = threading.Event()
        self.running = 0
        self.most = 0
        self.lock = threading.Lock()

    def __call__(self, _request, peer):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.open.wait(20)
        with self.lock:
            self.running -= 1
        peer.whole({"ok": 1})


@pytest.mark.threads
def test_one_more_is_refused_and_costs_nothing(proxy, workers):
    gate = Gate()
    daemon, behind = proxy(gate, WORKERS=workers, tokens=at_once(3, rpm=10))
    clients = [Client(daemon.port) for _ in range(3)]
    for client in clients:
        client.send(request(body=chat()))
    behind.wait_requests(3)
    refused = ask(daemon.port, body=chat())
    assert refused.status == 429
    assert refused.error["code"] == "concurrency_limit_exceeded"
    assert refused.error["type"] == "requests"
    assert refused.header("Retry-After") == "1"
    assert refused.header("x-should-retry") is None
    assert refused.header("X-RateLimit-Remaining-Requests") == "7"
    gate.open.set()
    assert [client.answer().status for client in clients] == [200] * 3
    after = ask(daemon.port, body=chat())
    assert after.status == 200
    assert after.header("X-RateLimit-Remaining-Requests") == "6"
    assert len(behind.requests) == 4
    causes = [line["cause"] for line in daemon.wait_access(5)]
    assert sorted(causes) == ["denied"] + ["done"] * 4


@pytest.mark.threads
def test_never_more_than_so_many(proxy, workers):
    busy = Gate()
    busy.open.set()
    daemon, behind = proxy(busy, WORKERS=workers, tokens=at_once(4))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(
            lambda _: ask(daemon.port, body=chat()).status, range(400)))
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) == len(behind.requests)
    assert 1 <= busy.most <= 4
    assert ask(daemon.port, body=chat()).status == 200


def test_tokens_and_free_endpoints_are_apart(proxy):
    gate = Gate()
    other = {"token": "other-key-456", "label": "bob"}
    daemon, behind = proxy(gate, tokens=at_once(1) + [other])
    with Client(daemon.port) as running, Client(daemon.port) as bob:
        running.send(request(body=chat()))
        behind.wait_requests(1)
        bob.send(request(body=chat(), token="other-key-456"))
        behind.wait_requests(2)
        assert ask(daemon.port, "/healthz").status == 200
        assert ask(daemon.port, body=chat()).status == 429
        gate.open.set()
        assert running.answer().status == bob.answer().status == 200


def leave_waiting(daemon, behind):
    seen = len(behind.requests)
    with Client(daemon.port) as client:
        client.send(request(body=chat(text="hang")))
        behind.wait_requests(seen + 1)


def leave_streaming(daemon, _behind):
    with Client(daemon.port) as client:
        client.send(request(body=chat(text="drip", stream=True)))
        client.chunk(client.head())


def asks(status, text="", **more):
    def run(daemon, _behind):
        assert ask(daemon.port,
                   body=chat(text=text, **more)).status == status
    return run


def cut_stream(daemon, _behind):
    with Client(daemon.port) as client:
        client.send(request(body=chat(text="cut", stream=True)))
        assert client.head().status == 200


def handler(got, peer):
    said = got.json["messages"][0]["content"]
    if said in ("hang", "drip"):
        if said == "drip":
            peer.sse_head()
            peer.sse({"n": 1})
        peer.wait_closed(20)
    elif said == "reset":
        peer.reset()
    elif said == "junk":
        peer.send(b"junk\r\n\r\n")
        peer.close()
    elif said == "error":
        peer.whole({"error": {"message": "no"}}, status=500)
    elif said == "cut":
        peer.sse_head()
        peer.sse({"n": 1})
        peer.reset()
    else:
        peer.whole({"ok": 1})


@pytest.mark.parametrize("way_out", [
    asks(200), asks(502, "reset"), asks(502, "junk"), asks(500, "error"),
    asks(400, model="ollama:m", temperature="warm"), cut_stream,
    leave_waiting, leave_streaming,
], ids=["done", "reset", "junk", "error", "refused", "cut", "leaves-waiting",
        "leaves-streaming"])
def test_every_way_out_frees_the_place(proxy, way_out):
    daemon, behind = proxy(handler, tokens=at_once(1))
    for i in range(1, 4):
        way_out(daemon, behind)
        daemon.wait_access(i)
    assert ask(daemon.port, body=chat()).status == 200


def whole_or_stream(got, peer):
    if got.json.get("stream"):
        peer.sse_head()
        peer.sse({"n": 1})
        peer.sse("[DONE]")
        peer.end()
    else:
        peer.whole({"ok": 1})


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_has_the_answer_may_ask_again(proxy, stream):
    """Another worker must not know less than the client does."""
    daemon, _ = proxy(whole_or_stream, WORKERS=4, tokens=at_once(1))
    body = chat(stream=stream)
    assert [ask(daemon.port, body=body).status for _ in range(300)] == (
        [200] * 300)


def test_a_backend_that_is_down_frees_the_place(daemon):
    one = daemon(WORKERS=4, tokens=at_once(1))
    for _ in range(300):
        assert ask(one.port, body=chat()).status == 502


def test_a_refusal_by_the_minute_frees_the_place(proxy):
    daemon, _ = proxy(handler, tokens=at_once(1, rpm=1))
    codes = []
    for _ in range(3):
        answer = ask(daemon.port, body=chat())
        codes.append(answer.error["code"] if answer.status == 429 else "")
    assert codes == ["", "rate_limit_exceeded", "rate_limit_exceeded"]


def test_leaving_the_queue_frees_the_place(proxy):
    daemon, behind = proxy(handler, WORKERS=1, BACKEND_MAX_INFLIGHT=1,
                           tokens=at_once(2))
    with Client(daemon.port) as running:
        running.send(request(body=chat(text="hang")))
        behind.wait_requests(1)
        for i in range(1, 4):
            with Client(daemon.port) as waiting:
                waiting.send(request(body=chat()))
                # One worker takes clients in turn: now it has seen that one.
                with Client(daemon.port) as probe:
                    for _ in range(2):
                        assert probe.ask("/healthz").status == 200
                assert ask(daemon.port, body=chat()).status == 429
            lines = daemon.wait_access(4 * i)
            assert lines[-1]["cause"] == "client_gone"
    assert len(behind.requests) == 1


def test_a_reload_changes_how_many(proxy):
    gate = Gate()
    daemon, behind = proxy(gate, tokens=at_once(1))
    with Client(daemon.port) as first, Client(daemon.port) as second:
        first.send(request(body=chat()))
        behind.wait_requests(1)
        assert ask(daemon.port, body=chat()).status == 429
        daemon.write_config(TOKENS_JSON=json.dumps(at_once(2)))
        daemon.reload()
        second.send(request(body=chat()))
        behind.wait_requests(2)
        daemon.write_config(TOKENS_JSON=json.dumps(at_once(1)))
        daemon.reload()
        assert ask(daemon.port, body=chat()).status == 429
        gate.open.set()
        assert first.answer().status == second.answer().status == 200
    assert ask(daemon.port, body=chat()).status == 200
