"""Chats through Ollama's native API, over sockets: the examples of
tests/data/ollama, whole and cut anywhere, and what is special in a stream."""

import json
import pathlib
import re

import pytest
from raw import Client, Closed, ask, chat, request

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data/ollama"
EXAMPLES = {path.stem: json.loads(path.read_text())
            for path in sorted(FOLDER.glob("e*.json"))}


def made_ids_masked(text):
    """Ids of our own making are random."""
    return re.sub(r"\b(chatcmpl-|call_)[0-9a-f]{24}\b", r"\1ID", text)


class Replay:
    """An Ollama that answers with one reply, in pieces of `cut` bytes."""

    def __init__(self, example, cut):
        self.example = example
        self.cut = cut

    def __call__(self, _request, peer):
        reply = self.example["reply"].encode()
        if self.example["content_type"] != "application/x-ndjson":
            peer.whole(reply, self.example["status"],
                       self.example["content_type"])
            return
        peer.ndjson_head()
        for at in range(0, len(reply), self.cut):
            peer.chunk(reply[at:at + self.cut])
        peer.end()


@pytest.mark.parametrize("cut", [1, 13, 100_000])
@pytest.mark.parametrize("name", EXAMPLES)
def test_example(proxy, name, cut):
    example = EXAMPLES[name]
    wanted = example["client"]
    daemon, behind = proxy(Replay(example, cut))
    with Client(daemon.port) as client:
        client.send(request(body=example["request"]))
        answer = client.head()
        try:
            client.rest(answer)
        except Closed:
            pass
    answer.body = made_ids_masked(answer.body.decode()).encode()
    assert answer.status == wanted["status"], answer.body
    if "json" in wanted:
        assert answer.json == wanted["json"]
        assert answer.header("Content-Type") == "application/json"
    elif "error" in wanted:
        assert answer.json == wanted["error"]
    else:
        assert answer.events == wanted["events"]
        # Whole exactly if it says so.
        assert answer.complete == (wanted["events"][-1] == "[DONE]")
    if "retry_after" in wanted:
        assert answer.header("Retry-After") == str(wanted["retry_after"])
    if "dropped" in example:
        assert answer.header("X-Proxy-Dropped-Params") == example["dropped"]
    if "upstream" not in example:
        assert behind.requests == []
        return
    got = behind.requests[0]
    assert (got.method, got.path) == ("POST", "/api/chat")
    assert got.json == example["upstream"]
    assert got.header("Accept") == (
        "application/x-ndjson" if got.json["stream"] else "application/json")
    assert got.header("Host") == behind.url[7:]
    assert got.header("Origin") is None


def test_the_key_for_ollama_is_the_operators(proxy):
    daemon, behind = proxy(OLLAMA_API_KEY="ollama-secret")
    ask(daemon.port, body=chat("ollama:demo"))
    assert behind.requests[0].header("Authorization") == "Bearer ollama-secret"


@pytest.mark.parametrize("sent, upstream", [
    ("ollama:llama3.2:3b", "llama3.2:3b"),
    ("ollama:hf.co/bartowski/Qwen3-8B-GGUF:Q4_K_M",
     "hf.co/bartowski/Qwen3-8B-GGUF:Q4_K_M"),
    ("ollama:registry.lan:5000/team/bot:v2", "registry.lan:5000/team/bot:v2"),
    ("ollama:ollama:7b", "ollama:7b"),
    ("llama3.2", "llama3.2"),
    ("evil:foo", "evil:foo"),
    ("OLLAMA:x", "OLLAMA:x"),
])
def test_model_names(proxy, sent, upstream):
    daemon, behind = proxy()
    answer = ask(daemon.port, body=chat(sent))
    assert answer.status == 200
    assert answer.json["model"] == sent
    assert behind.requests[0].json["model"] == upstream


@pytest.mark.parametrize("include", [None, False, True])
def test_usage_comes_when_it_is_asked_for(proxy, include):
    daemon, _ = proxy()
    options = {} if include is None else {
        "stream_options": {"include_usage": include}}
    events = ask(daemon.port, body=chat("ollama:m", True, **options)).events
    usages = [event for event in events[:-1] if event.get("usage")]
    assert len(usages) == (1 if include else 0)
    assert all(event["choices"] for event in events[:-2])
    if include:
        assert events[-2]["choices"] == []
        assert events[-2]["usage"]["total_tokens"] == (
            events[-2]["usage"]["prompt_tokens"]
            + events[-2]["usage"]["completion_tokens"])


@pytest.mark.parametrize("fields, param", [
    ({"messages": []}, "messages"),
    ({"temperature": "hot"}, "temperature"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"n": 2}, "n"),
    ({"stop": [1]}, "stop"),
    ({"logit_bias": {"1": 1}}, "logit_bias"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
])
def test_bad_fields_are_named_and_cost_nothing(proxy, fields, param):
    daemon, behind = proxy(
        tokens=[{"token": "demo-key-123", "label": "demo", "rpm": 5}])
    answer = ask(daemon.port, body={**chat("ollama:m"), **fields})
    assert answer.status == 400
    assert answer.error["param"].startswith(param)
    assert answer.header("X-RateLimit-Remaining-Requests") == "5"
    assert behind.requests == []


@pytest.mark.parametrize("text", [
    '{"model":"ollama:m","messages":[{"role":"user","role":"user",'
    '"content":"x"}]}',
    '{"model":"ollama:m","messages":[{"role":"user","content":"\\ud83d"}]}',
])
def test_json_that_cannot_be_translated(proxy, text):
    daemon, behind = proxy()
    answer = ask(daemon.port, body=text.encode())
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")
    assert behind.requests == []


def test_a_nul_in_a_text_arrives(proxy):
    daemon, behind = proxy()
    assert ask(daemon.port, body=chat("ollama:m", text="a\0b")).status == 200
    assert behind.requests[0].json["messages"][0]["content"] == "a\0b"
