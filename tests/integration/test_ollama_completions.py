"""Text completions through Ollama's /api/generate, over sockets: the examples
of tests/data/completions, whole and cut anywhere."""

import json
import pathlib
import re

import pytest
from raw import Client, Closed, ask, request

PATH = "/v1/completions"
FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data/completions"
EXAMPLES = {path.stem: json.loads(path.read_text())
            for path in sorted(FOLDER.glob("*.json"))}


def completion(stream=False, **more):
    return {"model": "ollama:m", "prompt": "hi", "stream": stream, **more}


class Replay:
    """An Ollama that answers with one reply, in pieces of `cut` bytes."""

    def __init__(self, reply, cut):
        self.reply = reply
        self.cut = cut

    def __call__(self, _request, peer):
        body = self.reply["reply"].encode()
        if self.reply["content_type"] != "application/x-ndjson":
            peer.whole(body, self.reply["status"], self.reply["content_type"])
            return
        peer.ndjson_head()
        for at in range(0, len(body), self.cut):
            peer.chunk(body[at:at + self.cut])
        peer.end()


def talk(daemon, body):
    with Client(daemon.port) as client:
        client.send(request(PATH, body))
        answer = client.head()
        try:
            client.rest(answer)
        except Closed:
            pass
    answer.body = re.sub(rb"\bcmpl-[0-9a-f]{24}\b", b"cmpl-ID", answer.body)
    return answer


@pytest.mark.parametrize("cut", [1, 13, 100_000])
@pytest.mark.parametrize("name", EXAMPLES)
def test_example(proxy, name, cut):
    example = EXAMPLES[name]
    wanted = example["client"]
    daemon, behind = proxy(Replay(example, cut))
    answer = talk(daemon, example["request"])
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
    assert answer.header("X-Proxy-Dropped-Params") == example.get("dropped")
    if "upstream" not in example:
        assert behind.requests == []
        return
    got = behind.requests[0]
    assert (got.method, got.path) == ("POST", "/api/generate")
    assert got.json == example["upstream"]


def test_both_forms_whatever_the_workers(proxy, workers):
    daemon, _ = proxy(WORKERS=workers)
    whole = talk(daemon, completion(echo=True))
    assert whole.json["object"] == "text_completion"
    events = talk(daemon, completion(True, echo=True)).events
    assert events[-1] == "[DONE]"
    text = "".join(event["choices"][0]["text"] for event in events[:-1])
    assert text == whole.json["choices"][0]["text"]
    assert text.startswith("hiThis is the scripted ollama backend")
    lines = daemon.wait_access(2)
    assert [line["status"] for line in lines] == ["200", "200"]


@pytest.mark.parametrize("fields, param", [
    ({"prompt": None}, "prompt"),
    ({"prompt": ["a", 1]}, "prompt[1]"),
    ({"prompt": [1, 2]}, "prompt"),
    ({"n": 2}, "n"),
    ({"best_of": 2}, "best_of"),
    ({"logprobs": True}, "logprobs"),
    ({"echo": True, "logprobs": 1}, "echo"),
    ({"suffix": "x", "raw": True}, "suffix"),
])
def test_bad_fields_are_named_and_cost_nothing(proxy, fields, param):
    daemon, behind = proxy(
        tokens=[{"token": "demo-key-123", "label": "demo", "rpm": 5}])
    answer = ask(daemon.port, PATH, {**completion(), **fields})
    assert answer.status == 400
    assert answer.error["param"] == param
    assert answer.header("X-RateLimit-Remaining-Requests") == "5"
    assert behind.requests == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_large_prompt_goes_out_and_comes_back(proxy, stream):
    daemon, behind = proxy()
    prompt = 'Say "\u00e9" \\ \n' * 300_000
    answer = talk(daemon, completion(stream, prompt=prompt, echo=True))
    assert behind.requests[0].json["prompt"] == prompt
    objects = answer.events[:-1] if stream else [answer.json]
    text = "".join(each["choices"][0]["text"] for each in objects)
    assert text.startswith(prompt + "This is")


def test_echo_outlives_an_early_keep_alive(proxy):
    """The comment sends the answer's head, and with it goes the request."""
    def slow(_request, peer):
        peer.ndjson_head()
        peer.pause(0.5)
        peer.line({"response": "!", "done": True, "done_reason": "stop"})
        peer.end()

    daemon, _ = proxy(slow, SSE_KEEPALIVE="100ms")
    prompt = "long " * 1000
    answer = talk(daemon, completion(True, prompt=prompt, echo=True))
    assert answer.body.startswith(b": keep-alive\n\n")
    assert [event["choices"][0]["text"] for event in answer.events[:-1]] == [
        prompt, "!"]


class Echoing:
    """Answers each prompt with its own text, in two lines if it streams."""

    def __init__(self, fail_at=None):
        self.fail_at = fail_at
        self.seen = []

    def __call__(self, got, peer):
        prompt = got.json["prompt"]
        self.seen.append(prompt)
        if prompt == self.fail_at:
            peer.whole({"error": "no"}, 500)
            return
        line = {"model": "m", "created_at": "2026-09-01T08:31:00Z"}
        last = {**line, "done": True, "done_reason": "stop",
                "prompt_eval_count": 3, "eval_count": 2}
        if not got.json["stream"]:
            peer.whole({**last, "response": f"<{prompt[:5]}>"})
            return
        peer.ndjson_head()
        peer.line({**line, "response": f"<{prompt[:5]}", "done": False})
        peer.line({**last, "response": ">"})
        peer.end()


@pytest.mark.threads
def test_several_prompts_are_asked_one_after_the_other(proxy, workers):
    ollama = Echoing()
    daemon, _ = proxy(ollama, WORKERS=workers)
    long = "long " + "x" * 50_000
    prompts = ["one", long, "three"]
    with Client(daemon.port) as client:
        answer = client.ask(PATH, completion(prompt=prompts))
        assert answer.status == 200, answer.body
        choices = answer.json["choices"]
        assert [(c["index"], c["text"], c["finish_reason"])
                for c in choices] == [(0, "<one>", "stop"),
                                      (1, "<long >", "stop"),
                                      (2, "<three>", "stop")]
        assert answer.json["usage"] == {
            "prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}
        answer = client.ask(PATH, completion(
            True, prompt=prompts, echo=True,
            stream_options={"include_usage": True}))
    assert ollama.seen == prompts * 2
    assert answer.events[-1] == "[DONE]"
    texts = {}
    for event in answer.events[:-1]:
        for choice in event["choices"]:
            texts.setdefault(choice["index"], []).append(choice["text"])
    assert {index: "".join(text) for index, text in texts.items()} == {
        0: "one<one>", 1: long + "<long >", 2: "three<three>"}
    assert answer.events[-2]["usage"]["total_tokens"] == 15
    assert len({event["id"] for event in answer.events[:-1]}) == 1
    first, second = daemon.wait_access(2)
    assert first["completion_tokens"] == second["completion_tokens"] == "6"


def test_several_prompts_of_which_one_fails(proxy):
    daemon, _ = proxy(Echoing(fail_at="b"))
    answer = ask(daemon.port, PATH, completion(prompt=["a", "b", "c"]))
    assert answer.status == 500
    assert answer.error["message"] == "no"
    answer = talk(daemon, completion(True, prompt=["a", "b", "c"]))
    assert "error" in answer.events[-1]
    assert answer.events[0]["choices"][0]["text"] == "<a"


@pytest.mark.parametrize("prompt, param, message", [
    (["x"] * 129, "prompt", "at most 128"),
    (["x", 1], "prompt[1]", "a string"),
    ([], "prompt", "array of strings")])
def test_prompts_that_are_refused(proxy, prompt, param, message):
    daemon, behind = proxy()
    answer = ask(daemon.port, PATH, completion(prompt=prompt))
    assert answer.status == 400
    assert answer.error["param"] == param
    assert message in answer.error["message"]
    assert behind.requests == []


def test_who_leaves_between_prompts(proxy):
    def handler(got, peer):
        if got.json["prompt"] == "b":
            peer.pause(10)
        Echoing()(got, peer)

    daemon, behind = proxy(handler)
    with Client(daemon.port) as client:
        client.send(request(PATH, completion(prompt=["a", "b", "c"])))
        behind.wait_requests(2)
    assert daemon.wait_access(1)[0]["cause"] == "client_gone"
    assert len(behind.requests) == 2
