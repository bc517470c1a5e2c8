"""Embeddings through Ollama's native API, over sockets: the examples of
tests/data/embeddings, whole and cut anywhere, and large batches."""

import base64
import contextlib
import json
import pathlib
import random
import struct
import threading

import pytest
from raw import Client, ask, chat, request

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data/embeddings"
EXAMPLES = {path.stem: json.loads(path.read_text())
            for path in sorted(FOLDER.glob("*.json"))}
PATH = "/v1/embeddings"


def embed(text="a", model="ollama:m", **more):
    return {"model": model, "input": text, **more}


class Replay:
    """An Ollama that answers with one reply, in chunks of `cut` bytes."""

    def __init__(self, body, cut, status=200):
        self.body = body
        self.cut = cut
        self.status = status

    def __call__(self, _request, peer):
        peer.head(self.status, "application/json; charset=utf-8")
        for at in range(0, len(self.body), self.cut):
            peer.chunk(self.body[at:at + self.cut])
        peer.end()


def unpack(text):
    packed = base64.b64decode(text)
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def narrow(values):
    return list(struct.unpack(f"<{len(values)}f",
                              struct.pack(f"<{len(values)}f", *values)))


@pytest.mark.parametrize("cut", [1, 13, 100_000])
@pytest.mark.parametrize("name", EXAMPLES)
def test_example(proxy, name, cut):
    example = EXAMPLES[name]
    wanted = example["client"]
    daemon, behind = proxy(Replay(example.get("reply", "").encode(), cut,
                                  example.get("status")))
    answer = ask(daemon.port, PATH, example["request"])
    assert answer.status == wanted["status"], answer.body
    assert answer.json == wanted.get("json", wanted.get("error"))
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("Content-Length") == str(len(answer.body))
    if "retry_after" in wanted:
        assert answer.header("Retry-After") == str(wanted["retry_after"])
    assert answer.header("X-Proxy-Dropped-Params") == example.get("dropped")
    if "upstream" not in example:
        assert behind.requests == []
        return
    got = behind.requests[0]
    assert (got.method, got.path) == ("POST", "/api/embed")
    assert got.json == example["upstream"]
    assert got.header("Accept") == "application/json"
    assert got.header("Host") == behind.url[7:]
    assert got.header("Origin") is None


@pytest.mark.parametrize("form", ["float", "base64"])
def test_a_large_batch(proxy, workers, form):
    numbers = random.Random(4)
    vectors = [[round(numbers.gauss(0, 0.05), 9) for _ in range(1024)]
               for _ in range(256)]
    body = json.dumps({"model": "m", "embeddings": vectors,
                       "prompt_eval_count": 256}).encode()
    daemon, behind = proxy(Replay(body, 65_536), WORKERS=workers)
    texts = [f"text {i} " + "y" * 60 for i in range(256)]
    answer = ask(daemon.port, PATH, embed(texts, encoding_format=form))
    assert answer.status == 200, answer.body[:500]
    assert behind.requests[0].json["input"] == texts
    data = answer.json["data"]
    assert [item["index"] for item in data] == list(range(256))
    for item, vector in zip(data, vectors):
        if form == "base64":
            assert unpack(item["embedding"]) == narrow(vector)
        else:
            assert item["embedding"] == vector
    assert daemon.wait_access(1)[0]["cause"] == "done"


def test_large_batches_at_once(proxy):
    """Together they take longer than a turn of the loop may, so they take
    turns; each arrives as if it were alone."""
    vector = [round(0.001 * i, 9) for i in range(1024)]
    body = json.dumps({"model": "m", "embeddings": [vector] * 64}).encode()
    daemon, _ = proxy(Replay(body, 65_536), WORKERS=1)
    asked = request(PATH, embed(["a"] * 64))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(daemon.port)) for _ in range(12)]
        for client in clients:
            client.send(asked)
        for client in clients:
            answer = client.answer()
            assert answer.status == 200, answer.body[:500]
            assert [item["embedding"] for item in answer.json["data"]] == [
                vector] * 64


def test_a_large_answer_waits_for_a_slow_reader(proxy):
    vector = [0.123456789] * 500_000
    body = json.dumps({"embeddings": [vector]}).encode()
    daemon, _ = proxy(Replay(body, 1 << 20))
    with Client(daemon.port, receive_buffer=4096) as client:
        client.send(request(PATH, embed()))
        answer = client.head()
        assert ask(daemon.port, "/healthz", token=None).status == 200
        client.rest(answer)
    assert answer.json["data"][0]["embedding"] == vector


def test_texts_arrive_as_they_were_written(proxy):
    daemon, behind = proxy()
    texts = ["", "a\0b", "\u00e9\U0001f600", "long " * 1000, '"\\/\n']
    answer = ask(daemon.port, PATH, embed(texts))
    assert answer.status == 200
    assert len(answer.json["data"]) == len(texts)
    assert behind.requests[0].json == {"model": "m", "input": texts,
                                       "truncate": False}


@pytest.mark.parametrize("setting, sent", [("0", False), ("1", None)])
def test_truncate_is_the_operators(proxy, setting, sent):
    daemon, behind = proxy(OLLAMA_TRUNCATE=setting)
    assert ask(daemon.port, PATH, embed()).status == 200
    assert behind.requests[0].json.get("truncate") is sent


@pytest.mark.parametrize("fields, param", [
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": [1, 2]}, "input"),
    ({"input": ["a", 2]}, "input[1]"),
    ({"input": ["a"] * 2049}, "input"),
    ({"dimensions": 0}, "dimensions"),
    ({"encoding_format": "hex"}, "encoding_format"),
    ({"keep_alive": "300"}, "keep_alive"),
])
def test_bad_fields_are_named_and_cost_nothing(proxy, fields, param):
    daemon, behind = proxy(
        tokens=[{"token": "demo-key-123", "label": "demo", "rpm": 5}])
    answer = ask(daemon.port, PATH, {**embed(), **fields})
    assert answer.status == 400
    assert answer.error["param"] == param
    assert answer.header("X-RateLimit-Remaining-Requests") == "5"
    assert behind.requests == []


@pytest.mark.parametrize("body", [
    b"{}", b"[]", b'{"embeddings":[]}', b'{"embeddings":[[1,',
    b'{"embeddings":[[1,null]]}', b'{"embeddings":[[NaN]]}',
    b'{"embeddings":[[1e400]]}', b"[" * 3000])
def test_answers_that_cannot_be_used(proxy, body):
    daemon, _ = proxy(lambda _, peer: peer.whole(body))
    with Client(daemon.port) as client:
        for _ in range(2):
            client.send(request(PATH, embed()))
            answer = client.rest(client.head())
            assert answer.status == 502
            assert answer.error["code"] == "backend_bad_response"


def test_a_backend_that_dies_in_its_answer(proxy):
    def handler(_, peer):
        peer.head(200, "application/json")
        peer.chunk(b'{"embeddings":[[0.5,0.5')
        peer.close()

    daemon, _ = proxy(handler)
    answer = ask(daemon.port, PATH, embed())
    assert answer.status == 502
    assert answer.error["code"] == "backend_error"


def test_a_client_that_leaves_frees_the_backend(proxy):
    begun, left = threading.Event(), threading.Event()

    def handler(_, peer):
        peer.head(200, "application/json")
        peer.chunk(b'{"embeddings":[[0.5')
        begun.set()
        if peer.wait_closed(20):
            left.set()

    daemon, _ = proxy(handler)
    with Client(daemon.port) as client:
        client.send(request(PATH, embed()))
        assert begun.wait(20)
    assert left.wait(20)
    assert daemon.wait_access(1)[0]["cause"] == "client_gone"


def test_usage_and_endpoint_are_logged(proxy):
    daemon, _ = proxy(Replay(b'{"embeddings":[[1]],"prompt_eval_count":9}',
                             1000))
    assert ask(daemon.port, PATH, embed()).status == 200
    line = daemon.wait_access(1)[0]
    assert line["endpoint"] == "embeddings"
    assert line["prompt_tokens"] == "9"


def test_chats_and_embeddings_share_a_connection(proxy):
    daemon, _ = proxy()
    with Client(daemon.port) as client:
        for _ in range(3):
            client.send(request(PATH, embed(["a", "b"])))
            answer = client.rest(client.head())
            assert len(answer.json["data"]) == 2
            assert client.ask(body=chat("ollama:demo")).status == 200
