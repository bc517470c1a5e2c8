"""MAX_BUFFERED_BYTES counts what backends send, too."""

import select
import threading

import pytest
from daemon import SLOW
from raw import Client, Closed, ask, chat, request

pytestmark = pytest.mark.threads

DONE = {"done": True, "done_reason": "stop", "prompt_eval_count": 3,
        "eval_count": 2}


def message(text, **more):
    return {"model": "m", "created_at": "2026-09-01T08:31:00Z",
            "message": {"role": "assistant", "content": text},
            "done": False, **more}


def whole(peer, text, wait):
    """An answer that the proxy collects before it translates it."""
    peer.head(200, "application/json")
    peer.chunk('{"model":"m","created_at":"2026-09-01T08:31:00Z","message":'
               '{"role":"assistant","content":"' + text)
    wait()
    peer.chunk('"},"done":true,"done_reason":"stop"}')
    peer.end()


def line(peer, text, wait):
    """One long line of a stream."""
    peer.ndjson_head()
    peer.chunk('{"model":"m","created_at":"2026-09-01T08:31:00Z","message":'
               '{"role":"assistant","content":"' + text)
    wait()
    peer.chunk('"},"done":false}\n')
    peer.line(message("", **DONE))
    peer.end()


def refusal(peer, text, wait):
    """The text of a backend's error; of Ollama's little is kept."""
    peer.head(400, "application/json")
    peer.chunk('{"error":"' + text)
    wait()
    peer.chunk('"}')
    peer.end()


KINDS = [
    # How the backend answers, the request, the answer, the budget.
    (whole, chat("ollama:m"), 200, 8 << 20),
    (line, chat("ollama:m", stream=True), 200, 8 << 20),
    (refusal, chat("vllm:m"), 400, 1 << 20),
]


@pytest.mark.parametrize("kind, body, status, budget", KINDS)
def test_what_is_held_of_answers_is_counted(proxy, workers, kind, body,
                                            status, budget):
    holding = threading.Semaphore(0)
    gate = threading.Event()

    def handler(_, peer):
        def wait():
            holding.release()
            gate.wait(20)

        kind(peer, "x" * (budget * 3 // 8), wait)

    daemon, _ = proxy(handler, WORKERS=workers, MAX_BODY_BYTES="64k",
                      MAX_BUFFERED_BYTES=budget)
    clients = [Client(daemon.port) for _ in range(3)]
    for client in clients[:2]:
        client.send(request(body=body))
        assert holding.acquire(timeout=20)
    clients[2].send(request(body=body))
    # The backend has sent, but what the daemon has read is its own affair:
    # any of them may be the one that is too many.
    answered, _, _ = select.select([each.sock for each in clients], [], [],
                                   20 * SLOW)
    refused = next(each for each in clients if each.sock in answered).answer()
    assert refused.status == 503
    assert refused.error["code"] == "overloaded"
    # It has been generated, and would be anew.
    assert refused.header("Retry-After") is None
    assert refused.header("x-should-retry") == "false"
    for client in clients:
        client.close()
    # All of it is given back.
    lines = daemon.wait_access(3)
    # Two that grow at the same moment may both be refused.
    causes = [each["cause"] for each in lines]
    assert causes.count("overloaded") in (1, 2)
    assert causes.count("client_gone") == 3 - causes.count("overloaded")
    gate.set()
    for _ in range(4):
        assert ask(daemon.port, body=body).status == status


def test_a_stream_that_has_begun_hears_of_it(proxy):
    def handler(_, peer):
        peer.ndjson_head()
        peer.line(message("a"))
        peer.chunk('{"model":"m","x":"' + "x" * (2 << 20))
        peer.pause(20)

    daemon, _ = proxy(handler, MAX_BODY_BYTES="64k", MAX_BUFFERED_BYTES="1m")
    with Client(daemon.port) as client:
        client.send(request(body=chat("ollama:m", stream=True)))
        answer = client.head()
        with pytest.raises(Closed):
            client.rest(answer)
    assert answer.events[-1]["error"]["code"] == "overloaded"
    assert "[DONE]" not in answer.events
