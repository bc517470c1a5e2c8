"""GET /v1/models/{id} of a model of Ollama: what its /api/show says."""

import json
import os
import select
import threading
from urllib.parse import quote, unquote

import pytest
from backend import SHOWN
from daemon import ROOT, TOKEN
from raw import Client, ask, chat, request

CREATED = 1793527200
MISSING = {"error": "model 'm:latest' not found"}


def detail(port, id_, **named):
    return ask(port, f"/v1/models/{id_}", **named)


def shows(behind):
    """What /api/show was asked for."""
    return [got.json["model"] for got in behind.requests
            if got.path == "/api/show"]


def model(id_, **more):
    return {"id": id_, "object": "model", "created": CREATED,
            "owned_by": "library", "capabilities": ["completion", "tools"],
            "context_length": 2048, **more}


@pytest.mark.parametrize("id_", [
    "ollama:demo", "demo", "ollama:demo:latest", "ollama:DEMO", "ollama%3Ademo",
    "library/demo", "ollama:library%2Fdemo", "ollama:demo:local",
    "ollama:registry.ollama.ai/library/demo:latest"])
def test_what_ollama_resolves_is_shown_and_can_be_used(proxy, id_):
    daemon, behind = proxy()
    answer = detail(daemon.port, id_)
    assert answer.status == 200
    assert answer.header("Content-Type") == "application/json"
    assert list(answer.json.items()) == list(model(unquote(id_)).items())
    asked = behind.requests[0]
    assert (asked.method, asked.path) == ("POST", "/api/show")
    name = unquote(id_).removeprefix("ollama:")
    assert asked.json == {"model": name, "verbose": False}
    assert asked.header("Content-Type") == "application/json"
    assert TOKEN.encode() not in asked.head
    assert ask(daemon.port, body=chat(unquote(id_))).status == 200
    assert daemon.wait_access(1)[0]["cause"] == "done"


def test_owners_and_keys(proxy):
    daemon, behind = proxy(lambda _, peer: peer.whole(SHOWN),
                           OLLAMA_API_KEY="gpu1-secret")
    answer = detail(daemon.port, "ollama:hf.co/bartowski/Qwen3-8B-GGUF:Q4_K_M")
    assert answer.json["owned_by"] == "bartowski"
    assert behind.requests[0].header("Authorization") == "Bearer gpu1-secret"


def test_every_recorded_answer(proxy):
    records = {}
    path = ROOT / "tests/data/models/recorded.jsonl"
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if isinstance(record["request"]["body"], dict):
            name = record["request"]["body"].get("model", "unnamed")
            records[name] = record

    def handler(got, peer):
        record = records[got.json["model"]]
        peer.whole(record["body"].encode(), record["status"],
                   record["headers"]["Content-Type"])

    daemon, _ = proxy(handler)
    for name, record in records.items():
        answer = detail(daemon.port, quote(f"ollama:{name}"))
        assert answer.status == record["status"]
        said = json.loads(record["body"])
        if answer.status == 200:
            assert answer.json["id"] == f"ollama:{name}"
            assert answer.json["capabilities"] == said["capabilities"]
            kind = said["model_info"]["general.architecture"]
            assert answer.json["context_length"] == \
                said["model_info"][f"{kind}.context_length"]
        elif answer.status == 404:
            assert answer.error == {
                "message": f"The model 'ollama:{name}' does not exist.",
                "type": "invalid_request_error", "param": "model",
                "code": "model_not_found"}
        else:
            assert answer.error["message"] == said["error"]
    assert {record["status"] for record in records.values()} == {200, 400, 404}


@pytest.mark.parametrize("id_", [
    "ollama:nope", "ollama:demo:7b", "ollama:", "ollama:%00", "nope%ff",
    "ollama:" + 600 * "m", "%zz"])
def test_what_is_no_model(proxy, id_):
    answer = detail(proxy()[0].port, id_)
    assert answer.status in (400, 404)
    if "%ff" not in id_:
        assert answer.error["code"] == "model_not_found"


@pytest.mark.parametrize("status, body, seen, code", [
    (400, {"error": "invalid model name"}, 400, None),
    (401, {"error": "unauthorized"}, 502, "backend_auth"),
    (403, b"", 502, "backend_auth"),
    (404, MISSING, 404, "model_not_found"),
    (404, b"404 page not found", 502, "backend_bad_response"),
    (405, b"405 method not allowed", 502, "backend_bad_response"),
    (429, b"", 429, "backend_rate_limited"),
    (500, {"error": "no manifest"}, 500, "backend_error"),
    (503, {"error": "server busy"}, 503, "backend_busy"),
    (504, b"", 504, "backend_timeout"),
    (301, b"", 502, "backend_bad_response"),
    (200, b"", 502, "backend_bad_response"),
    (200, b"<html>", 502, "backend_bad_response"),
    (200, {"models": []}, 502, "backend_bad_response"),
])
def test_refusals_of_the_backend(proxy, status, body, seen, code):
    daemon, _ = proxy(lambda _, peer: peer.whole(body, status))
    answer = detail(daemon.port, "ollama:m")
    assert answer.status == seen
    assert answer.error["code"] == code
    cause = "client_error" if seen in (400, 404) else "backend_error"
    assert daemon.wait_access(1)[0]["cause"] == cause
    assert ("no detail of a model" in daemon.log) == (cause != "client_error")


def test_a_backend_that_is_down(daemon):
    one = daemon()
    answer = detail(one.port, "ollama:m")
    assert answer.status == 502
    assert answer.error["code"] == "backend_unreachable"
    assert answer.header("x-should-retry") is None
    assert detail(one.port, "vllm:m").status == 502


def test_a_backend_that_says_nothing_in_time(proxy):
    daemon, _ = proxy(lambda _, peer: peer.pause(60), FIRST_BYTE_TIMEOUT="50ms")
    answer = detail(daemon.port, "ollama:m")
    assert answer.status == 504
    assert answer.error["code"] == "backend_timeout"
    assert daemon.wait_access(1)[0]["cause"] == "timeout"


def test_a_backend_that_breaks_off(proxy):
    def handler(_, peer):
        peer.head(200, length=1000)
        peer.send(b'{"details":{}')
        peer.close()

    answer = detail(proxy(handler)[0].port, "ollama:m")
    assert answer.status == 502
    assert answer.error["code"] == "backend_error"


@pytest.mark.threads
def test_a_large_answer_is_read_by_the_helper(proxy, workers):
    tensors = [{"name": f"blk.{i}", "type": "F16", "shape": [i, i]}
               for i in range(60_000)]
    daemon, _ = proxy(lambda _, peer: peer.whole(
        {**SHOWN, "license": "x" * 100_000, "tensors": tensors}),
        WORKERS=workers)
    tasks = f"/proc/{daemon.pid}/task"
    before = len(os.listdir(tasks))
    assert detail(daemon.port, "ollama:m").json == model("ollama:m")
    assert len(os.listdir(tasks)) == before + 1


def test_too_large_an_answer_is_refused(proxy):
    def handler(_, peer):
        peer.head()
        for _ in range(9):
            peer.chunk(b" " * (1 << 20))

    answer = detail(proxy(handler)[0].port, "ollama:m")
    assert answer.status == 502
    assert answer.error["message"] == \
        "The backend says more than 8 MiB about the model."


@pytest.mark.parametrize("name, status", [("demo", 200), ("nope", 404)])
def test_answers_are_kept_for_ten_seconds(proxy, name, status):
    daemon, behind = proxy(WORKERS=1)
    for id_ in (f"ollama:{name}", name, f"ollama:{name}"):
        assert detail(daemon.port, id_).status == status
    daemon.advance(5000)
    answer = detail(daemon.port, name)
    assert answer.status == status
    assert status == 404 or answer.json["id"] == name
    assert shows(behind) == [name]
    daemon.advance(5001)
    assert detail(daemon.port, name).status == status
    assert shows(behind) == [name] * 2


def test_a_failure_is_soon_forgotten(proxy):
    down = [True]
    daemon, behind = proxy(lambda _, peer: peer.whole({}, 500) if down.pop()
                           else peer.whole(SHOWN), WORKERS=1)
    assert detail(daemon.port, "ollama:m").status == 500
    down.append(False)
    daemon.advance(1001)
    assert detail(daemon.port, "ollama:m").status == 200
    assert len(behind.requests) == 2


def test_the_last_256_are_kept(proxy):
    daemon, behind = proxy(WORKERS=1)
    names = [f"m{i}:latest" for i in range(257)]
    with Client(daemon.port) as client:
        for name in [*names[:200], names[0], *names[200:]]:
            assert client.ask(f"/v1/models/ollama:{name}").status == 404
        assert shows(behind) == names
        for name in (names[0], names[256], names[2]):
            client.ask(f"/v1/models/ollama:{name}")
        assert shows(behind) == names
        client.ask(f"/v1/models/ollama:{names[1]}")
    assert shows(behind) == [*names, names[1]]


class Gate:
    """A handler that answers nobody before open()."""

    def __init__(self):
        self._open = threading.Event()

    def open(self):
        self._open.set()

    def __call__(self, got, peer):
        self._open.wait(20)
        peer.whole(SHOWN)


def test_those_who_ask_at_a_time_share_an_answer(proxy):
    gate = Gate()
    daemon, behind = proxy(gate, WORKERS=1)
    clients = [Client(daemon.port) for _ in range(20)]
    for i, client in enumerate(clients):
        client.send(request(f"/v1/models/{'ollama:' if i % 2 else ''}m"))
    behind.wait_requests(1)
    clients[0].close()
    clients[7].close()
    gate.open()
    for i, client in enumerate(clients):
        if i not in (0, 7):
            id_ = "ollama:m" if i % 2 else "m"
            assert client.answer().json == model(id_)
            client.close()
    assert shows(behind) == ["m"]


def test_how_many_are_asked_for_at_a_time_is_bounded(proxy):
    gate = Gate()
    daemon, behind = proxy(gate, WORKERS=1)
    clients = [Client(daemon.port) for _ in range(300)]
    for i, client in enumerate(clients):
        client.send(request(f"/v1/models/ollama:m{i}"))
    refused = set()
    while len(refused) < 44:
        waiting = [c for c in clients if c not in refused]
        ready, _, _ = select.select([c.sock for c in waiting], [], [], 20)
        assert ready
        for client in waiting:
            if client.sock in ready:
                answer = client.answer()
                assert answer.status == 503
                assert answer.error["code"] == "backend_busy"
                assert answer.header("Retry-After") == "1"
                refused.add(client)
    assert len(behind.wait_requests(8)) == 8
    gate.open()
    for client in clients:
        if client not in refused:
            assert client.answer().status == 200
        client.close()
    assert len(behind.requests) == 256


def test_who_leaves_is_not_asked_for(proxy):
    gate = Gate()
    daemon, behind = proxy(gate, WORKERS=1)
    clients = [Client(daemon.port) for _ in range(8)]
    for i, client in enumerate(clients):
        client.send(request(f"/v1/models/ollama:m{i}"))
    behind.wait_requests(8)
    with Client(daemon.port) as gone:
        gone.send(request("/v1/models/ollama:gone"))
        assert ask(daemon.port, "/healthz").status == 200
    assert daemon.wait_access(2)[-1]["cause"] == "client_gone"
    gate.open()
    for client in clients:
        assert client.answer().status == 200
        client.close()
    assert sorted(shows(behind)) == [f"m{i}" for i in range(8)]


def test_the_daemon_ends_while_a_model_is_asked_for(proxy):
    gate = Gate()
    daemon, behind = proxy(gate, WORKERS=1, DRAIN_TIMEOUT="50ms")
    with Client(daemon.port) as client:
        client.send(request("/v1/models/ollama:m"))
        behind.wait_requests(1)
        daemon.signal(15)
        assert client.answer().error["code"] == "shutting_down"
        assert daemon.wait_exit() == 0
    gate.open()


def test_another_backend_is_asked_at_once(proxy, backend):
    daemon, _ = proxy(WORKERS=1)
    assert detail(daemon.port, "ollama:demo").status == 200
    other = backend(lambda _, peer: peer.whole(MISSING, 404))
    daemon.write_config(OLLAMA_BASE_URL=other.url)
    daemon.reload()
    assert detail(daemon.port, "ollama:demo").status == 404
    assert shows(other) == ["demo"]


def test_a_token_that_may_not_use_it_does_not_see_it(proxy):
    daemon, behind = proxy(tokens=[
        {"token": TOKEN, "label": "a", "models": ["ollama:demo", "li*"]}])
    for id_ in ("ollama:demo", "demo", "library/demo"):
        assert detail(daemon.port, id_).status == 200
    asked = len(behind.requests)
    for id_ in ("ollama:DEMO", "demo:latest", "nope"):
        answer = detail(daemon.port, id_)
        assert answer.status == 404
        assert answer.error["message"] == \
            f"The model '{id_}' does not exist."
    assert len(behind.requests) == asked


def test_a_chat_asks_for_no_detail_and_a_detail_for_no_list(proxy):
    daemon, behind = proxy()
    assert ask(daemon.port, body=chat("ollama:demo")).status == 200
    assert [got.path for got in behind.requests] == ["/api/chat"]
    assert detail(daemon.port, "ollama:demo").status == 200
    assert [got.path for got in behind.requests] == ["/api/chat", "/api/show"]
    answer = ask(daemon.port, "/v1/models/ollama:demo", method="HEAD")
    assert answer.status == 200 and answer.body == b""
