"""What takes long to read or to send does not hold a worker's loop up: the
helper translates it, and large answers go out in parts."""

import json
import os
import signal
import threading

import pytest
from raw import TOKEN, Client, Closed, ask, chat, request

pytestmark = pytest.mark.threads

DONE = {"done": True, "done_reason": "stop", "prompt_eval_count": 3,
        "eval_count": 2}
MANY = [{"role": "user", "content": f"word {i}"} for i in range(4000)]
LOGPROBS = [{"token": "a", "logprob": -0.5, "bytes": [97]}] * 2000


def line(text, **more):
    return {"model": "m", "created_at": "2026-09-01T08:31:00Z",
            "message": {"role": "assistant", "content": text},
            "done": False, **more}


def message(text, **more):
    return line(text, **DONE, **more)


def dense(model="ollama:m", **more):
    return {"model": model, "messages": MANY, **more}


def threads(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/task"))


def test_a_dense_request_is_translated_by_the_helper(proxy, workers):
    daemon, backend = proxy(lambda _, peer: peer.whole(message("x")),
                            WORKERS=workers)
    before = threads(daemon)
    assert ask(daemon.port, body=chat("ollama:m")).status == 200
    assert threads(daemon) == before
    answer = ask(daemon.port, body=dense())
    assert answer.status == 200, answer.body
    assert answer.json["choices"][0]["message"]["content"] == "x"
    assert backend.requests[-1].json["messages"] == MANY
    assert threads(daemon) == before + 1
    assert daemon.wait_access(2)[-1]["status"] == "200"


@pytest.mark.parametrize("end, status", [("AA==", 200), ("!!!!", 400)])
def test_a_large_image_is_looked_at_by_the_helper(proxy, end, status):
    daemon, backend = proxy(lambda _, peer: peer.whole(message("x")))
    before = threads(daemon)
    data = ("A" * 76 + "\r\n") * 50_000 + end
    body = chat("ollama:m", messages=[{"role": "user", "content": [
        {"type": "image_url",
         "image_url": {"url": "data:image/png;base64," + data}}]}])
    answer = ask(daemon.port, body=body)
    assert answer.status == status, answer.body
    assert threads(daemon) == before + 1
    if status == 200:
        image, = backend.requests[0].json["messages"][0]["images"]
        assert image == "A" * (76 * 50_000) + end
    else:
        assert answer.error["param"] == "messages[0].content[0]"
        assert backend.requests == []


def test_a_dense_request_is_refused_as_any_other(proxy):
    daemon, backend = proxy(
        lambda _, peer: peer.whole(message("x")),
        tokens=[{"token": TOKEN, "label": "demo", "rpm": 100}])
    with Client(daemon.port) as client:
        for _ in range(3):
            answer = client.ask(body=dense(n=2))
            assert answer.status == 400
            assert answer.error["param"] == "n"
            # Refused before the backend heard of it: not charged.
            assert answer.header("X-RateLimit-Remaining-Requests") == "100"
        answer = client.ask(body=chat("ollama:m"))
        assert answer.status == 200
        assert answer.header("X-RateLimit-Remaining-Requests") == "99"
    assert len(backend.requests) == 1


# The worker's stack and the helper's: jansson recurses, and so does what
# writes its trees.
@pytest.mark.parametrize("messages", [MANY[:1], MANY])
def test_the_greatest_depth_has_room(proxy, messages):
    def nested(depth):
        return '{"a":' * depth + "1" + "}" * depth

    def reply(depth):
        return json.dumps(message("", message={
            "role": "assistant", "content": "", "tool_calls": [{"function": {
                "name": "f", "arguments": "DEEP"}}]})).replace(
                    '"DEEP"', nested(depth))

    def ask_with(depth):
        body = json.dumps({
            "model": "ollama:m", "messages": messages, "tools": [{
                "type": "function", "function": {
                    "name": "f", "parameters": "DEEP"}}]})
        return ask(daemon.port, body=body.replace(
            '"DEEP"', nested(depth)).encode())

    answers = iter([reply(2000), reply(2040)])
    daemon, backend = proxy(
        lambda _, peer: peer.whole(next(answers).encode()), WORKERS=1)
    for depth in (2000, 2040):
        answer = ask_with(depth)
        assert answer.status == 200, answer.body
        call, = answer.json["choices"][0]["message"]["tool_calls"]
        assert call["function"]["arguments"] == nested(depth)
        assert nested(depth).encode() in backend.requests[-1].body
    answer = ask_with(2046)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")
    assert len(backend.requests) == 2


def test_clients_that_leave_while_the_helper_works(proxy, workers):
    daemon, _ = proxy(lambda _, peer: peer.whole(message("x")),
                      WORKERS=workers)
    for _ in range(20):
        with Client(daemon.port) as client:
            client.send(request(body=dense()))
    seen = daemon.wait_access(20)
    assert {line["cause"] for line in seen} <= {"client_gone", "done"}
    assert ask(daemon.port, body=dense()).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_daemon_ends_while_the_helper_works(proxy, number):
    daemon, _ = proxy(lambda _, peer: peer.whole(message("x")), WORKERS=2)
    clients = [Client(daemon.port) for _ in range(8)]
    for client in clients:
        client.send(request(body=dense()))
    daemon.signal(number)
    assert daemon.wait_exit() == 0
    for client in clients:
        client.close()


def test_a_large_answer_arrives_whole(proxy, workers):
    text = "abcdefgh" * 500_000
    daemon, _ = proxy(lambda got, peer: peer.whole(
        message(text) if got.path == "/api/chat" else {"text": text}),
        WORKERS=workers)
    for model in ("ollama:m", "vllm:m"):
        answer = ask(daemon.port, body=chat(model))
        assert answer.status == 200
        found = answer.json.get("text") or \
            answer.json["choices"][0]["message"]["content"]
        assert found == text


def test_a_large_answer_waits_for_a_slow_reader(proxy):
    text = "abcdefgh" * 500_000
    daemon, _ = proxy(lambda _, peer: peer.whole(message(text)))
    with Client(daemon.port, receive_buffer=4096) as client:
        client.send(request(body=chat("ollama:m")))
        answer = client.head()
        assert ask(daemon.port, "/healthz", token=None).status == 200
        body = client.rest(answer).body
    assert json.loads(body)["choices"][0]["message"]["content"] == text


def test_a_dense_answer_is_read_by_the_helper(proxy):
    daemon, _ = proxy(lambda _, peer: peer.whole(
        message("x", logprobs=LOGPROBS)))
    answer = ask(daemon.port, body=chat("ollama:m", logprobs=True))
    assert answer.status == 200, answer.body
    assert len(answer.json["choices"][0]["logprobs"]["content"]) == 2000


def test_long_lines_keep_their_place_in_a_stream(proxy, workers):
    gate = threading.Event()

    def handler(_, peer):
        peer.ndjson_head()
        peer.line(line("a"))
        peer.line(line("b", logprobs=LOGPROBS))
        gate.wait(20)
        peer.line(line("c"))
        peer.line(line("d", logprobs=LOGPROBS))
        peer.line(message("e", logprobs=LOGPROBS))
        peer.end()

    daemon, _ = proxy(handler, WORKERS=workers)
    with Client(daemon.port) as client:
        client.send(request(body=chat("ollama:m", stream=True,
                                      logprobs=True)))
        answer = client.head()
        seen = b""
        while b'"content":"b"' not in seen:
            seen += client.chunk(answer)
        gate.set()
        client.rest(answer)
    events = answer.events
    assert events[-1] == "[DONE]"
    said = "".join(event["choices"][0]["delta"].get("content") or ""
                   for event in events[:-1])
    assert said == "abcde"


def test_a_backend_that_dies_behind_a_long_line(proxy):
    def handler(_, peer):
        peer.ndjson_head()
        peer.line(line("a", logprobs=LOGPROBS))
        peer.reset()

    daemon, _ = proxy(handler)
    with Client(daemon.port) as client:
        client.send(request(body=chat("ollama:m", stream=True)))
        answer = client.head()
        with pytest.raises(Closed):
            client.rest(answer)
    assert "[DONE]" not in answer.events
    assert answer.events[-1]["error"]["type"] == "server_error"


def test_a_long_list_of_models_is_shown_whole(proxy):
    names = [f"model-{i}:latest" for i in range(2000)]
    daemon, _ = proxy(lambda got, peer: peer.whole(
        {"models": [{"name": name, "modified_at": "2026-09-01T08:31:00Z"}
                    for name in names]}
        if got.path == "/api/tags" else {"object": "list", "data": []}))
    answer = ask(daemon.port, "/v1/models")
    assert [model["id"] for model in answer.json["data"]] == \
        [f"ollama:{name}" for name in names]
