"""BACKEND_MAX_INFLIGHT: a bounded queue, first in, first out, over all
workers."""

import threading
import time

import pytest
from daemon import SLOW
from raw import Client, chat, request, settle


class Gatekeeper:
    """Answers a request when the test opens its gate."""

    def __init__(self):
        self.running = 0
        self.most = 0
        self.order = []
        self.lock = threading.Lock()
        self.permits = threading.Semaphore(0)

    def __call__(self, got, peer):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.order.append(got.json["messages"][0]["content"])
        self.permits.acquire(timeout=20)
        with self.lock:
            self.running -= 1
        peer.whole({"ok": 1})


def start(daemon, texts, workers=1, **more):
    """One client a text, each known to be under way before the next."""
    clients = []
    for text in texts:
        client = Client(daemon.port)
        client.send(request(body=chat(text=text, **more)))
        clients.append(client)
        if workers == 1:
            settle(daemon.port)
        else:  # nothing tells when another one has read it
            time.sleep(0.05 * SLOW)
    return clients


@pytest.mark.threads
def test_first_in_first_out_over_workers(proxy, workers):
    keeper = Gatekeeper()
    daemon, behind = proxy(keeper, WORKERS=workers, BACKEND_MAX_INFLIGHT=2)
    texts = [f"n{i}" for i in range(8)]
    clients = start(daemon, texts, workers)
    behind.wait_requests(2)
    for done in range(1, 9):
        keeper.permits.release()
        behind.wait_requests(min(8, 2 + done))
    for client in clients:
        assert client.answer().status == 200
    assert keeper.most == 2
    assert sorted(keeper.order[:2]) == texts[:2]
    assert keeper.order[2:] == texts[2:]
    lines = daemon.wait_access(8)
    assert sum(int(line["queue_ms"]) > 0 for line in lines) == 6


@pytest.mark.parametrize("model", ["vllm:m", "ollama:m"])
@pytest.mark.parametrize("stream", [False, True])
def test_waiting_has_a_limit_and_costs_nothing(proxy, stream, model):
    keeper = Gatekeeper()
    daemon, behind = proxy(
        keeper, WORKERS=1, BACKEND_MAX_INFLIGHT=1, QUEUE_TIMEOUT="300ms",
        SSE_KEEPALIVE="50ms",
        tokens=[{"token": "demo-key-123", "label": "demo", "rpm": 100}])
    first, second = start(daemon, ["a", "b"], model=model, stream=stream)
    refused = second.answer()
    assert refused.status == 503
    assert refused.error["code"] == "backend_busy"
    assert refused.header("Retry-After") == "1"
    # Only the first one was spent.
    assert refused.header("X-RateLimit-Remaining-Requests") == "99"
    keeper.permits.release()
    first.head()
    assert len(behind.requests) == 1
    line, = [each for each in daemon.wait_access(2)
             if each["cause"] == "overloaded"]
    assert int(line["queue_ms"]) >= 300
    assert "too many requests" not in daemon.log
    if stream:  # the first had left the queue and heard of it
        assert first.buffer.count(b": keep-alive") > 2


def test_a_full_queue_refuses_at_once(proxy):
    keeper = Gatekeeper()
    daemon, behind = proxy(keeper, WORKERS=1, BACKEND_MAX_INFLIGHT=1,
                           QUEUE_SIZE=1)
    first, second, third = start(daemon, ["a", "b", "c"])
    assert third.answer().error["code"] == "backend_busy"
    keeper.permits.release(2)
    assert first.answer().status == 200
    assert second.answer().status == 200
    assert daemon.wait_access(3)[0]["cause"] == "overloaded"


def test_a_list_of_models_does_not_queue(proxy):
    gate = threading.Event()

    def handler(got, peer):
        if got.path.startswith("/v1/chat"):
            gate.wait(20)
            peer.whole({"ok": 1})
        else:
            peer.whole({"object": "list", "models": [],
                        "data": [{"id": "m", "object": "model"}]})

    daemon, behind = proxy(handler, BACKEND_MAX_INFLIGHT=1)
    with Client(daemon.port) as running, Client(daemon.port) as client:
        running.send(request(body=chat()))
        behind.wait_requests(1)
        answer = client.ask("/v1/models")
        assert [model["id"] for model in answer.json["data"]] == ["vllm:m"]
        assert answer.header("X-Proxy-Partial") is None
        gate.set()
        assert running.answer().status == 200


@pytest.mark.threads
def test_who_leaves_the_queue_is_skipped(proxy, workers):
    keeper = Gatekeeper()
    daemon, behind = proxy(keeper, WORKERS=workers, BACKEND_MAX_INFLIGHT=1)
    first, second, third = start(daemon, ["a", "b", "c"], workers)
    second.close()
    daemon.wait_access(1)
    assert daemon.access[0]["cause"] == "client_gone"
    keeper.permits.release(2)
    assert first.answer().status == 200
    assert third.answer().status == 200
    assert keeper.order == ["a", "c"]


def test_a_raised_limit_lets_waiters_in(proxy):
    keeper = Gatekeeper()
    daemon, behind = proxy(keeper, WORKERS=1, BACKEND_MAX_INFLIGHT=1)
    clients = start(daemon, ["a", "b", "c"])
    assert len(behind.wait_requests(1)) == 1
    daemon.write_config(BACKEND_MAX_INFLIGHT=3)
    daemon.reload()
    behind.wait_requests(3)
    keeper.permits.release(3)
    for client in clients:
        assert client.answer().status == 200


def test_one_backends_queue_is_not_the_others(daemon, backend):
    keeper = Gatekeeper()
    blocked = backend(keeper)
    free = backend()
    one = daemon(VLLM_BASE_URL=blocked.url, OLLAMA_BASE_URL=free.url,
                 WORKERS=1, BACKEND_MAX_INFLIGHT=1)
    first, second = start(one, ["a", "b"])
    with Client(one.port) as client:
        assert client.ask(body=chat("ollama:demo")).status == 200
    keeper.permits.release(2)
    assert first.answer().status == second.answer().status == 200
