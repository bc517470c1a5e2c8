"""The hostile cases of tests/data/hostile.json over sockets: whole and in
pieces of 7 bytes, with what reached the backend checked as well."""

import asyncio
import base64
import contextlib
import json
import pathlib
import re
import socket

import pytest
from backend import Backend
from daemon import SLOW, Daemon

CASES = json.loads((pathlib.Path(__file__).resolve().parents[1]
                    / "data/hostile.json").read_text())
BY_ID = {case["id"]: case for case in CASES}
# Each mode's size of pieces, and its number of workers.
MODES = {"whole-workers1": (1 << 20, 1), "pieces-workers4": (7, 4)}
MARK = b"an-answer-of-the-backend"
AT_ONCE = 24
QUIET = 0.4 * SLOW    # nothing more comes after that
PATIENCE = 15 * SLOW  # something comes before that
# Everything that may stand in a request to a backend.
UPSTREAM_HEADERS = {"host", "user-agent", "content-type", "content-length",
                    "accept", "x-request-id", "traceparent", "tracestate"}
HEAD_LINE = re.compile(rb"[A-Za-z0-9-]+: [\x20-\x7e]*")


def answer_at_once(request, peer):
    if request.path == "/api/tags":
        peer.whole({"models": []})
    elif request.path == "/v1/models":
        peer.whole({"object": "list", "data": []})
    else:
        peer.whole({"model": "demo", "created_at": "2026-11-24T10:00:00Z",
                    "message": {"role": "assistant",
                                "content": MARK.decode()},
                    "done": True, "done_reason": "stop"})


class Verdict:
    """What the daemon did with one case."""

    def __init__(self):
        self.bytes = b""
        self.closed = False

    @property
    def statuses(self):
        return [int(status) for status in re.findall(
            rb"HTTP/1\.[01] (\d{3})[ \r]", self.bytes)]

    @property
    def final(self):
        return [s for s in self.statuses if s >= 200 or s == 101]


def enough(case, verdict):
    """Whether all that must come is there: the rest has to be silence."""
    return verdict.closed or (
        len(verdict.final) >= case.get("n_responses", 1)
        and not case["must_close"])


async def send(writer, data, piece):
    for at in range(0, len(data), piece):
        writer.write(data[at:at + piece])
        await writer.drain()


async def play(case, port, piece):
    verdict = Verdict()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sending = asyncio.create_task(
        send(writer, base64.b64decode(case["raw_base64"]), piece))
    try:
        while not verdict.closed:
            data = await asyncio.wait_for(
                reader.read(65536),
                QUIET if enough(case, verdict) else PATIENCE)
            verdict.bytes += data
            verdict.closed = not data
    except asyncio.TimeoutError:
        pass
    except ConnectionError:
        verdict.closed = True
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await sending
    writer.transport.abort()
    return verdict


async def play_all(port, piece):
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(case):
        async with turn:
            return case["id"], await play(case, port, piece)

    return dict(await asyncio.gather(*map(one, CASES)))


class Sweep:
    """All cases in one mode against one daemon."""

    def __init__(self, folder, piece, workers):
        self.backend = Backend(answer_at_once)
        self.daemon = Daemon(
            folder, WORKERS=workers, OLLAMA_BASE_URL=self.backend.url,
            VLLM_BASE_URL=self.backend.url, MAX_BODY_BYTES="1m",
            HEAD_TIMEOUT="2s", BODY_TIMEOUT="2s",
            tokens=[{"token": "demo-key-123", "label": "demo",
                     "rpm": 1_000_000}])
        self.verdicts = asyncio.run(play_all(self.daemon.port, piece))
        self.right = set()

    def chats(self):
        return [request for request in self.backend.requests
                if request.method == "POST"]


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    made = {}

    def sweep(mode):
        if mode not in made:
            made[mode] = Sweep(tmp_path_factory.mktemp(mode), *MODES[mode])
        return made[mode]

    yield sweep
    for each in made.values():
        each.backend.stop()
    for each in made.values():
        each.daemon.stop()


def faults_of_answers(case, verdict):
    final = verdict.final
    first = final[0] if final else 0
    if first == 0 and not verdict.closed:
        yield "no answer and not closed"
    elif first not in case["expect_status"]:
        yield f"{first or 'silent close'}, wanted {case['expect_status']}"
    if case["must_close"] and not verdict.closed:
        yield "not closed"
    if case.get("must_keep") and verdict.closed:
        yield "closed, should stay open"
    if len(final) > case.get("max_responses", len(final)):
        yield f"{len(final)} answers: smuggled"
    if (case.get("n_responses", len(final)) != len(final)
            and first in case["expect_status"]):
        yield f"{len(final)} answers, wanted {case['n_responses']}"
    if case.get("then_status") and len(final) > 1 \
            and final[1] not in case["then_status"]:
        yield f"then {final[1]}, wanted {case['then_status']}"
    for status in set(case.get("forbid_status", [])) & set(verdict.statuses):
        yield f"forbidden status {status}"
    text = verdict.bytes.decode("latin-1")
    for name in case.get("forbid_header", []):
        if re.search(rf"(?mi)^{re.escape(name)}\s*:", text):
            yield f"forbidden header {name}"
    for names in case.get("expect_header", []):
        if first == 200 and not re.search(rf"(?mi)^({names})[^:\r\n]*:",
                                          text):
            yield f"missing header {names}"
    for word in case.get("forbid_body", []):
        if word in text:
            yield f"leaks {word}"


def faults_of_heads(verdict):
    """No answer's head may hold a byte that could split it."""
    for found in re.finditer(rb"HTTP/1\.[01] \d{3}[^\r\n]*\r\n", verdict.bytes):
        head = verdict.bytes[found.end():].partition(b"\r\n\r\n")[0]
        for line in head.split(b"\r\n"):
            if line and not HEAD_LINE.fullmatch(line):
                yield f"a head with the line {line!r}"


def faults_upstream(case, requests):
    """What one case must not bring upstream, no case may."""
    for request in requests:
        for name in case.get("forbid_upstream", []):
            if request.header(name) is not None:
                yield f"{name} reached the backend"
        for value in case.get("forbid_upstream_value", []):
            if value.encode() in request.head:
                yield f"{value} reached the backend"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", BY_ID)
def test_verdict(sweeps, mode, case):
    sweep = sweeps(mode)
    verdict = sweep.verdicts[case]
    faults = [*faults_of_answers(BY_ID[case], verdict),
              *faults_of_heads(verdict),
              *faults_upstream(BY_ID[case], sweep.backend.requests)]
    assert not faults, (BY_ID[case]["why"], verdict.bytes[:400])
    sweep.right.add(case)


@pytest.mark.parametrize("mode", MODES)
def test_what_reached_the_backend(sweeps, mode):
    """One request for each answer of the backend that a client saw, each of
    the daemon's own making."""
    sweep = sweeps(mode)
    seen = sum(verdict.bytes.count(MARK)
               for verdict in sweep.verdicts.values())
    assert len(sweep.chats()) == seen
    for request in sweep.backend.requests:
        assert (request.method, request.path) in (
            ("POST", "/api/chat"), ("POST", "/v1/chat/completions"),
            ("GET", "/api/tags"), ("GET", "/v1/models")), request.head
        names = [name.lower() for name, _ in request.headers]
        assert len(set(names)) == len(names), request.head
        assert set(names) <= UPSTREAM_HEADERS, request.head
        assert request.header("Host") == sweep.backend.url[7:]
        assert b"demo-key-123" not in request.head


@pytest.mark.parametrize("mode", MODES)
def test_no_log_line_is_split_or_forged(sweeps, mode):
    sweep = sweeps(mode)
    answers = sum(len(v.final) for v in sweep.verdicts.values())
    lines = sweep.daemon.access_path.read_text().split("\n")
    assert len(lines) > answers // 2
    for line in lines[:-1]:
        assert re.fullmatch(r"ts=\S+ id=\S+ label=\S+ [\x20-\x7e]*", line)
    for line in sweep.daemon.log.splitlines():
        assert re.fullmatch(r"[\x20-\x7e]*", line), line
    for text in (*lines, sweep.daemon.log):
        assert "demo-key-123" not in text


@pytest.mark.parametrize("mode", MODES)
def test_the_daemon_lives_on(sweeps, mode):
    with socket.create_connection(
            ("127.0.0.1", sweeps(mode).daemon.port)) as last:
        last.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert last.recv(100).startswith(b"HTTP/1.1 200 ")


def test_count(sweeps, record_testsuite_property):
    """Last: says how many cases got their verdict."""
    for mode in MODES:
        right = len(sweeps(mode).right)
        record_testsuite_property(f"hostile {mode}:",
                                  f"{right} of {len(CASES)}")
        print(f"hostile {mode}: {right} of {len(CASES)}")
    assert len(CASES) == 229
