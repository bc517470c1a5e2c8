"""Everything that a real Ollama was recorded to answer to /api/chat,
/api/generate and /api/embed, over sockets: its heads, its chunks and, ten times
slower, its pace; many at once through one daemon. What the client must get is
worked out from the recording by tests/reference/ollama_answers.py."""

import concurrent.futures
import datetime
import json
import pathlib
import re
import threading

import pytest
import ollama_answers
from backend import Backend
from daemon import Daemon, SLOW
from raw import Client, Closed, request

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data/recorded"
PATHS = {"/api/chat": "/v1/chat/completions",
         "/api/generate": "/v1/completions",
         "/api/embed": "/v1/embeddings"}
RECORDS = {record["name"]: record for record in ollama_answers.read(
    FOLDER / f"{name}.jsonl" for name in ("chat", "generate", "embed"))}
EXAMPLES = [example for record in RECORDS.values()
            for example in ollama_answers.examples(record)]
SLOWER = 10
AT_ONCE = 24


def chunks_of(record):
    """The body as it came: its chunks' sizes, or its lines."""
    body = record["body"].encode()
    if "chunks" not in record:
        return body.splitlines(keepends=True)
    found = []
    for size in record["chunks"]:
        found.append(body[:size])
        body = body[size:]
    assert body == b""
    return found


def seconds_of(chunk):
    """When the line was written; None if it does not say."""
    found = re.search(rb'"created_at":"([\d:T-]+)\.?(\d*)Z"', chunk)
    if not found:
        return None
    whole = datetime.datetime.fromisoformat(found[1].decode() + "+00:00")
    return whole.timestamp() + float(b"0." + found[2] + b"0")


class Replay:
    """An Ollama that answers each model with the recording of that name. The
    last piece of a stream is held back until the client has got something of
    those before."""

    def __init__(self):
        self.arrived = {name: threading.Event() for name in RECORDS}
        self.held_too_long = []

    def __call__(self, asked, peer):
        name = asked.json["model"]
        record = RECORDS[name]
        lines = [f"HTTP/1.1 {record['status']} Recorded"]
        lines += [f"{key}: {value}"
                  for key, value in record["headers"].items()]
        peer.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin1"))
        if record["headers"].get("Transfer-Encoding") == "chunked":
            self.stream(name, chunks_of(record), peer)
        else:
            peer.send(record["body"].encode())
        peer.close()

    def stream(self, name, chunks, peer):
        before = None
        for number, chunk in enumerate(chunks):
            now = seconds_of(chunk)
            if before and now:
                peer.pause(max(0, now - before) * SLOWER)
            before = now
            if 0 < number == len(chunks) - 1:
                if not self.arrived[name].wait(20 * SLOW):
                    self.held_too_long.append(name)
            peer.chunk(chunk)
        peer.end()


def ask(port, replay, example):
    """The answer, and what its connection did behind it."""
    with Client(port) as client:
        client.send(request(PATHS[example["path"]], example["request"]))
        answer = client.head()
        try:
            if answer.header("Transfer-Encoding") == "chunked":
                client.chunk(answer)
                replay.arrived[example["upstream"]["model"]].set()
            client.rest(answer)
        except Closed:
            pass
    answer.ids = set(re.findall(rb'"id":"(c[a-z]+-[^"]*)"', answer.body))
    answer.body = re.sub(rb"\b(chatcmpl-|cmpl-|call_)[0-9a-f]{24}\b",
                         rb"\1ID", answer.body)
    return answer


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """Answers by example, what the backend was asked, streams held too
    long, and the daemon's access lines."""
    replay = Replay()
    backend = Backend(replay)
    daemon = Daemon(tmp_path_factory.mktemp("recordings"),
                    OLLAMA_BASE_URL=backend.url)
    try:
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(
                lambda example: ask(daemon.port, replay, example), EXAMPLES)
            answers = dict(zip((each["about"] for each in EXAMPLES), answers))
        lines = daemon.wait_access(len(EXAMPLES))
    finally:
        daemon.stop()
        backend.stop()
    return answers, backend.requests, replay.held_too_long, lines


def test_all_recordings_are_replayed(replayed):
    answers, requests, held_too_long, lines = replayed
    assert len(RECORDS) == 319
    assert len(EXAMPLES) == len(answers) == len(requests) == len(lines) == 599
    assert {example["upstream"]["model"] for example in EXAMPLES} == \
        set(RECORDS)
    assert held_too_long == []


def test_ollama_is_asked_as_it_should(replayed):
    wanted = sorted((example["path"], json.dumps(example["upstream"],
                                                 sort_keys=True))
                    for example in EXAMPLES)
    assert wanted == sorted((asked.path, json.dumps(asked.json,
                                                    sort_keys=True))
                            for asked in replayed[1])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each["about"])
def test_recorded_answer(replayed, example):
    answer = replayed[0][example["about"]]
    wanted = example["client"]
    assert answer.status == wanted["status"], answer.body
    made = '"id":"c' in json.dumps(wanted, separators=(",", ":"))
    assert len(answer.ids) == made
    if "events" in wanted:
        assert answer.events == wanted["events"]
        assert answer.header("Content-Type") == \
            "text/event-stream; charset=utf-8"
        # Whole exactly if it says so.
        assert answer.complete == (wanted["events"][-1] == "[DONE]")
        return
    assert answer.json == wanted.get("json", wanted.get("error"))
    assert answer.header("Content-Type") == "application/json"
    assert answer.complete
    no_retry = wanted.get("no_retry", False)
    assert answer.header("x-should-retry") == ("false" if no_retry else None)
    wait = wanted.get("retry_after", 0)
    assert answer.header("Retry-After") == (str(wait) if wait else None)


def test_access_lines_say_how_it_ended(replayed):
    """As many failures as the clients saw."""
    _, _, _, lines = replayed
    seen = [line["status"] for line in lines]
    for status in {str(example["client"]["status"]) for example in EXAMPLES}:
        assert seen.count(status) == sum(
            str(example["client"]["status"]) == status for example in EXAMPLES)


def test_every_example_of_the_contract_is_there():
    data = FOLDER.parent
    names = {path.stem for folder in ("ollama", "completions", "embeddings")
             for path in (data / folder).glob("e*.json")}
    # 25 is the list of models, in tests/unit/model_list_test.cc.
    assert {f"e{number}" for number in range(1, 28)} - names == {"e25"}
