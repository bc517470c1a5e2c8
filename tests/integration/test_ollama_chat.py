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


def said(text="x", **more):
    return {"model": "m", "created_at": "2026-09-01T08:31:00Z",
            "message": {"role": "assistant", "content": text, **more},
            "done": False}


DONE = {**said(""), "done": True, "done_reason": "stop"}


def streaming(*lines):
    def handler(_, peer):
        peer.ndjson_head()
        for line in lines:
            if isinstance(line, bytes):
                peer.chunk(line + b"\n")
            else:
                peer.line(line)
        peer.end()
    return handler


def deltas(answer):
    return [choice["delta"] for event in answer.events[:-1]
            for choice in event["choices"]]


@pytest.mark.parametrize("field, names", [
    (None, ["reasoning"]), ("reasoning", ["reasoning"]),
    ("reasoning_content", ["reasoning_content"]),
    ("both", ["reasoning", "reasoning_content"])])
def test_reasoning_in_a_stream_has_the_operators_name(proxy, field, names):
    settings = {} if field is None else {"REASONING_FIELD": field}
    daemon, _ = proxy(streaming(said("", thinking="hm"),
                                said("a", thinking="so"), DONE), **settings)
    answer = ask(daemon.port, body=chat("ollama:m", True))
    assert answer.events[-1] == "[DONE]"
    for name in ("reasoning", "reasoning_content"):
        text = "".join(delta.get(name, "") for delta in deltas(answer))
        assert text == ("hmso" if name in names else "")
    text = "".join(delta.get("content", "") for delta in deltas(answer))
    assert text == "a"


def test_a_429_of_ollama_is_told_apart_and_says_when(proxy):
    daemon, _ = proxy(lambda _, peer: peer.whole(
        {"error": "too many requests"}, status=429, Retry_After="7"))
    for path, body in (("/v1/chat/completions", chat("ollama:m", True)),
                       ("/v1/completions",
                        {"model": "ollama:m", "prompt": "x"}),
                       ("/v1/embeddings",
                        {"model": "ollama:m", "input": "x"})):
        answer = ask(daemon.port, path, body)
        assert answer.status == 429
        assert answer.error == {
            "message": "too many requests", "type": "rate_limit_error",
            "param": None, "code": "backend_rate_limited"}
        assert answer.header("Retry-After") == "7"
        assert answer.header("x-should-retry") is None


ZERO = {"model": "", "created_at": "0001-01-01T00:00:00Z",
        "message": {"role": "", "content": ""}, "done": False}
CUT_CALL = {"error": "llama-server returned invalid tool call arguments for "
                     "\"get_weather\": unexpected end of JSON input"}


@pytest.mark.parametrize("status, body, kind, wanted", [
    (200, ZERO, "application/json", (502, "backend_error")),
    (200, b"", "application/json", (502, "backend_error")),
    (500, CUT_CALL, "application/json", (500, "backend_error")),
    (401, {"error": "unauthorized"}, "application/json",
     (502, "backend_auth")),
    (404, b"404 page not found", "text/plain",
     (502, "backend_bad_response")),
    (200, b"<html>", "text/html", (502, "backend_bad_response"))])
@pytest.mark.parametrize("path, more", [
    ("/v1/chat/completions", chat("ollama:m")),
    ("/v1/embeddings", {"model": "ollama:m", "input": "x"})])
def test_what_would_fail_again_is_not_to_be_retried(
        proxy, status, body, kind, wanted, path, more):
    if body is ZERO and path == "/v1/embeddings":
        body = b""
    daemon, _ = proxy(lambda _, peer: peer.whole(body, status, kind))
    answer = ask(daemon.port, path, more)
    assert (answer.status, answer.error["code"]) == wanted
    assert answer.header("x-should-retry") == "false"
    assert answer.header("Retry-After") is None


def test_a_line_of_a_mebibyte_keeps_its_place(proxy):
    text = "abcdefgh" * (2 ** 17)
    daemon, _ = proxy(streaming(said("<"), said(text), said(">"), DONE))
    answer = ask(daemon.port, body=chat("ollama:m", True))
    assert answer.events[-1] == "[DONE]"
    found = "".join(delta.get("content", "") for delta in deltas(answer))
    assert found == f"<{text}>"


def test_the_last_of_equal_keys_counts(proxy):
    line = json.dumps(said("a")).replace('"content": "a"',
                                         '"content": "a", "content": "b"')
    # With the blanks that Ollama does not write, and without.
    daemon, _ = proxy(streaming(line.encode(), line.replace(" ", "").encode(),
                                DONE))
    answer = ask(daemon.port, body=chat("ollama:m", True))
    assert [delta.get("content") for delta in deltas(answer)] == \
        ["b", "b", None]


@pytest.mark.parametrize("depth, good", [(2043, True), (2044, False)])
def test_the_depth_of_a_line_has_a_bound(proxy, depth, good):
    arguments = '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    line = ('{"message":{"role":"assistant","content":"","tool_calls":['
            '{"function":{"name":"f","arguments":' + arguments + '}}]},'
            '"done":true,"done_reason":"stop"}')
    daemon, _ = proxy(streaming(line.encode()))
    answer = ask(daemon.port, body=chat("ollama:m", True))
    if good:
        call, = deltas(answer)[0]["tool_calls"]
        assert call["function"]["arguments"] == arguments
    else:
        assert (answer.status, answer.error["code"]) == \
            (502, "backend_bad_response")


@pytest.mark.parametrize("depth, good", [(2048, True), (2049, False)])
def test_the_depth_of_a_request_has_a_bound(proxy, depth, good):
    daemon, behind = proxy(lambda _, peer: peer.whole(DONE))
    deep = "[" * (depth - 4) + "]" * (depth - 4)
    body = ('{"model":"ollama:m","messages":[{"role":"user","content":"x"}],'
            '"tools":[{"type":"function","function":{"name":"f",'
            '"parameters":' + deep + '}}]}')
    answer = ask(daemon.port, body=body.encode())
    if good:
        assert answer.status == 200
        assert deep in behind.requests[0].body.decode()
    else:
        assert (answer.status, answer.error["code"]) == (400, "invalid_json")
        assert behind.requests == []


def test_a_tool_loop_keeps_every_digit(proxy):
    """Arguments that Ollama wrote in round one reach it in round two."""
    arguments = '{"id":12345678901234567000,"x":0.12345678901234568}'
    first = ('{"model":"m","created_at":"2026-09-01T08:31:00Z","message":'
             '{"role":"assistant","content":"","tool_calls":[{"id":"call_1",'
             '"function":{"index":0,"name":"f","arguments":' + arguments +
             '}}]},"done":true,"done_reason":"stop"}')

    def handler(got, peer):
        if len(got.json["messages"]) == 1:
            peer.whole(first.encode())
        else:
            peer.whole(DONE)

    daemon, behind = proxy(handler)
    messages = [{"role": "user", "content": "x"}]
    answer = ask(daemon.port, body=chat("ollama:m", messages=messages))
    call = answer.json["choices"][0]["message"]
    assert call["tool_calls"][0]["function"]["arguments"] == arguments
    messages += [call, {"role": "tool", "tool_call_id": "call_1",
                        "content": "4 C"}]
    answer = ask(daemon.port, body=chat("ollama:m", messages=messages))
    assert answer.status == 200, answer.body
    assert '"arguments":' + arguments in behind.requests[1].body.decode()
    assert behind.requests[1].json["messages"][2]["tool_name"] == "f"


def test_sounds_and_old_functions_reach_ollama(proxy):
    daemon, behind = proxy(lambda _, peer: peer.whole(DONE))
    messages = [
        {"role": "user", "content": [
            {"type": "text", "text": "a"},
            {"type": "input_audio", "input_audio": {
                "data": "AA\nAA", "format": "wav"}}]},
        {"role": "assistant", "content": None, "function_call": {
            "name": "f", "arguments": "{\"a\": 1}"}},
        {"role": "function", "name": "f", "content": "4 C"}]
    answer = ask(daemon.port, body=chat("ollama:m", messages=messages))
    assert answer.status == 200, answer.body
    assert behind.requests[0].json["messages"] == [
        {"role": "user", "content": "a", "images": ["AAAA"]},
        {"role": "assistant", "content": "", "tool_calls": [
            {"function": {"index": 0, "name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "content": "4 C", "tool_name": "f"}]


@pytest.mark.parametrize("path, member, param", [
    ("/v1/chat/completions",
     {"messages": [{"role": "user", "content": [{
         "type": "image_url", "image_url": {
             "url": "data:image/png;base64," + "!" * 2000}}]}]},
     "messages[0].content[0]"),
    ("/v1/completions", {"prompt": "x", "images": ["AAAA", "!" * 2000]},
     "images[1]")])
def test_an_image_that_is_none_costs_nothing(proxy, path, member, param):
    daemon, behind = proxy()
    answer = ask(daemon.port, path, {"model": "ollama:m", **member})
    assert answer.status == 400
    assert answer.error["message"] == "invalid image input"
    assert answer.error["param"] == param
    assert behind.requests == []
