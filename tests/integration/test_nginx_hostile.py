"""The hostile cases through nginx as shipped, in all shapes. nginx is a server
of its own and reads some of them otherwise than the daemon; what must hold is
that it never disagrees about framing with what is behind it."""

import asyncio
import base64
import collections
import json
import re

import pytest
from nginx import SHAPES, Site
from raw import ask
from test_hostile import (AT_ONCE, BY_ID, CASES, MARK, PATIENCE, QUIET,
                          Backend, Daemon, Verdict, answer_at_once, enough,
                          faults_of_heads, faults_upstream)
from daemon import SLOW

pytestmark = pytest.mark.nginx
# DEFAULT_BACKEND and the shape; with vLLM nginx sends requests there itself.
WAYS = [*(("ollama", shape) for shape in SHAPES), ("vllm", "oracle"),
        ("vllm", "redirect")]
EACH_WAY = pytest.mark.parametrize(
    "default, shape", WAYS, ids=["-".join(way) for way in WAYS])
LIMIT = 1_000_000
BODY = b'{"model":"ollama:demo","messages":[{"role":"user","content":"hi"}]}'

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"

LF = "takes a bare LF for the end of a line"
NO_LENGTH = "passes on a request without a body"
# What the daemon alone refuses, and what nginx makes of it instead: requests
# of its own framing, each of which it answers itself or sends on once.
READ_OTHERWISE = {
    "ch-data-lf": LF,
    "ch-last-xx": "reads trailers without a look at them",
    "ch-size-ext-unbal": "reads chunk extensions without a look at them",
    "ch-size-lf": LF,
    "ch-size-trail-tab": "takes blanks after a chunk's size",
    "fr-te-lf-hidden2": LF,
    "hd-nocolon": "leaves lines out that are no fields",
    "ho-twoports": "sends a host of its own reading",
    "rl-2sp-b": "takes any number of blanks in the request line",
    "rl-lf-first": LF,
    "rl-lf-only": LF,
    "rl-trail-sp": "takes blanks at the end of the request line",
    "rl-v12": "takes any HTTP/1.x for 1.1",
}
# The same of the bodies, where it is vLLM that reads them.
LEFT_TO_VLLM = {
    "cl-missing": NO_LENGTH,
    "cl-85-colon": NO_LENGTH,
    "ch-zero-first": NO_LENGTH,
    "fr-hdr-empty-lflf": LF,
    "hd-ce-gzip": "passes the coding on",
    **{case: "does not read JSON" for case in BY_ID if case[:3] == "js-"},
}
# Faults of fields that nothing needs, which stop at nginx where it asks first.
STOPPED = {"hd-count-300", "hd-ctl-val", "hd-esc-val"}
# As any reverse proxy it says which host was asked for.
TELLS_THE_HOST = {"ho-foreign"}
# It asks for the body before anybody is asked about the token.
ASKS_FOR_THE_BODY = {"hd-expect-noauth"}


def raw_of(case, default):
    raw = base64.b64decode(case["raw_base64"])
    # As long as the other, and vLLM's.
    return raw.replace(b"ollama:demo", b"vllm:demo-2") \
        if default == "vllm" else raw


def address_of(shape, case):
    """A client of its own for each, by which nginx' log tells them apart."""
    number = CASES.index(BY_ID[case])
    return (f"127.{1 + SHAPES.index(shape)}.{number // 250}."
            f"{number % 250 + 1}")


async def play(case, raw, port, address):
    verdict = Verdict()
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, local_addr=(address, 0))
    try:
        writer.write(raw)
        while not verdict.closed:
            data = await asyncio.wait_for(
                reader.read(65536),
                QUIET if enough(case, verdict) or (
                    verdict.final and not case.get("slow")) else PATIENCE)
            verdict.bytes += data
            verdict.closed = not data
    except asyncio.TimeoutError:
        pass
    except ConnectionError:
        verdict.closed = True
    writer.transport.abort()
    verdict.bytes = verdict.bytes.replace(INTERIM, b"")
    return verdict


async def play_all(plays):
    turn = asyncio.Semaphore(2 * AT_ONCE)

    async def one(key, *arguments):
        async with turn:
            return key, await play(*arguments)

    return dict(await asyncio.gather(*(one(*each) for each in plays)))


class Sweep:
    """All cases in all shapes against one nginx and one daemon."""

    def __init__(self, folder, default):
        def make_daemon(**settings):
            return Daemon(folder, tokens=[{
                "token": "demo-key-123", "label": "demo", "rpd": LIMIT}],
                **settings)

        self.default = default
        self.backend = Backend(answer_at_once)
        self.site = Site(make_daemon, self.backend)
        # Bodies are waited for 3 s.
        self.site.start(100 * SLOW, lambda text: text.replace(
            "client_max_body_size 20m;", "client_max_body_size 1m;"),
            MAX_BODY_BYTES="1m", DEFAULT_BACKEND=default)
        self.shapes = [shape for way, shape in WAYS if way == default]
        self.verdicts = asyncio.run(play_all([
            ((shape, case["id"]), case, raw_of(case, default),
             self.site.nginx.port[shape], address_of(shape, case["id"]))
            for case in CASES for shape in self.shapes]))
        self.right = collections.Counter()
        self.sent_on = [request for request in self.backend.requests
                        if request.method == "POST"]
        for request in self.sent_on:
            self.site.nginx.wait_access(request.header("X-Request-Id"))
        self.lines = self.site.nginx.access

    def lines_of(self, shape, case):
        client = address_of(shape, case)
        return [line for line in self.lines if line["client"] == client]

    def requests_of(self, shape, case):
        ids = {line["id"] for line in self.lines_of(shape, case)}
        return [request for request in self.sent_on
                if request.header("X-Request-Id") in ids]

    def stop(self):
        self.site.stop()
        self.site.daemon.stop()
        self.backend.stop()


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    made = {}

    def sweep(default):
        if default not in made:
            made[default] = Sweep(tmp_path_factory.mktemp(default), default)
        return made[default]

    yield sweep
    for each in made.values():
        each.stop()


def allowed(case, default, shape):
    """What a client may see first; 0 is a silent close."""
    statuses = set(case["expect_status"])
    if case["must_close"]:
        statuses |= {0, 400}
    if case["id"] in READ_OTHERWISE or (
            default == "vllm" and case["id"] in LEFT_TO_VLLM) or (
            shape == "oracle" and case["id"] in STOPPED):
        statuses.add(200)
    if case["id"] in ASKS_FOR_THE_BODY:
        statuses.add(0)
    return statuses


def faults_of_answers(case, default, shape, verdict):
    final = verdict.final
    first = final[0] if final else 0
    statuses = allowed(case, default, shape)
    if first not in statuses:
        yield f"{first or 'silence'}, not {statuses}"
    if not final and not verdict.closed:
        yield "no answer and not closed"
    if final and case.get("n_responses", len(final)) != len(final):
        yield f"{len(final)} answers, wanted {case['n_responses']}"
    if any(status < 400 for status in
           final[case.get("max_responses", len(final)):]):
        yield "more was served than asked for"
    for word in (b"<html", *map(str.encode, case.get("forbid_body", []))):
        if word in verdict.bytes:
            yield f"the answer says {word!r}"
    for names in case.get("expect_header", []):
        if not re.search(rb"(?mi)^(" + names.encode() + rb")", verdict.bytes):
            yield f"missing header {names}"
    for name in case.get("forbid_header", []):
        if re.search(rb"(?mi)^" + name.encode() + rb"\s*:", verdict.bytes):
            yield f"forbidden header {name}"


def faults_of_errors(raw, verdict):
    """Whoever refuses says so in OpenAI's shape."""
    heads = list(re.finditer(rb"HTTP/1\.1 (\d{3})[^\r\n]*\r\n",
                             verdict.bytes))
    ends = [head.start() for head in heads[1:]] + [len(verdict.bytes)]
    for head, end in zip(heads, ends):
        if int(head[1]) < 400 or raw.startswith(b"HEAD"):
            continue
        fields, _, body = verdict.bytes[head.end():end].partition(
            b"\r\n\r\n")
        if b"\r\nContent-Type: application/json\r\n" not in fields + b"\r\n":
            yield f"{head[0]!r} is not JSON"
        if not json.loads(body)["error"]["message"]:
            yield f"{head[0]!r} says nothing"


def faults_of_framing(case, raw, verdict, lines, requests):
    """nginx, the daemon and the backend saw the same requests."""
    if len(verdict.final) > len(lines):
        yield f"{len(verdict.final)} answers to {len(lines)} requests"
    if verdict.bytes.count(MARK) != len(requests):
        yield f"{len(requests)} requests reached the backend"
    if len(requests) > case.get("n_responses", case.get("max_responses", 1)):
        yield f"{len(requests)} requests in one"
    if len(set(r.header("X-Request-Id") for r in requests)) != len(requests):
        yield "one request reached the backend twice"
    for request in requests:
        if not is_what_was_sent(case, raw, request):
            yield f"{request.body!r} is not what the client sent"


def is_what_was_sent(case, raw, request):
    """But for the model's prefix, and Ollama's own wire."""
    straight = request.header("X-Real-IP") is not None
    if straight and case["id"] in LEFT_TO_VLLM:
        return request.body in raw
    if case["group"] == "js":
        return all(turn["content"].encode() in raw
                   for turn in request.json["messages"])
    sent = request.json
    assert sent["model"].split(":")[-1] in ("demo", "demo-2")
    return sent["messages"] == json.loads(BODY)["messages"]


@EACH_WAY
@pytest.mark.parametrize("case", BY_ID)
def test_verdict(sweeps, default, shape, case):
    sweep = sweeps(default)
    raw = raw_of(BY_ID[case], default)
    verdict = sweep.verdicts[shape, case]
    requests = sweep.requests_of(shape, case)
    faults = [*faults_of_answers(BY_ID[case], default, shape, verdict),
              *faults_of_errors(raw, verdict), *faults_of_heads(verdict),
              *faults_upstream(BY_ID[case], [
                  request for request in requests
                  if case not in TELLS_THE_HOST
                  or request.header("X-Real-IP") is None]),
              *faults_of_framing(BY_ID[case], raw, verdict,
                                 sweep.lines_of(shape, case), requests)]
    assert not faults, (BY_ID[case]["why"], verdict.bytes[:400])
    sweep.right[shape] += 1


@pytest.mark.parametrize("default", ["ollama", "vllm"])
def test_nobody_saw_a_request_that_nginx_did_not_send(sweeps, default):
    """Each line of the daemon's is one of nginx', once; what it could not
    read has no id of nginx', and reached nobody."""
    sweep = sweeps(default)
    ids = {line["id"] for line in sweep.lines}
    seen = collections.Counter()
    for line in sweep.site.daemon.access:
        if line["endpoint"] == "-" and line["status"][0] in "45":
            continue
        assert line["id"] in ids, line
        seen[line["endpoint"] == "authz", line["id"]] += 1
    assert set(seen.values()) == {1}
    assert {request.header("X-Request-Id") for request in sweep.sent_on} <= ids
    for request in sweep.sent_on:
        assert b"demo-key-123" not in request.head


@pytest.mark.parametrize("default", ["ollama", "vllm"])
def test_only_what_was_sent_on_is_charged(sweeps, default):
    """And what nginx gave up after it had asked, which nobody can know."""
    sweep = sweeps(default)
    lines = sweep.site.daemon.access
    asked = {line["id"] for line in lines
             if (line["endpoint"], line["status"]) == ("authz", "200")}
    done = {line["id"] for line in lines if line["endpoint"] != "authz"} | {
        request.header("X-Request-Id") for request in sweep.sent_on}
    given_up = [line for line in sweep.lines if line["id"] in asked - done
                and line["method"] == "POST"]
    assert {line["status"] for line in given_up} <= {400, 408}
    left = int(ask(sweep.site.daemon.port, "/internal/authz").header(
        "X-RateLimit-Remaining-Requests-Day"))
    assert LIMIT - 1 - left == len(sweep.sent_on) + len(given_up)


@pytest.mark.parametrize("default", ["ollama", "vllm"])
def test_both_live_on(sweeps, default):
    site = sweeps(default).site
    for shape in SHAPES:
        assert site.ask(shape, "/healthz").status == 200
    # No worker of nginx died.
    assert "exited on signal" not in site.nginx.log


def test_the_tables_say_no_more_than_is_so(sweeps):
    for table, default in ((READ_OTHERWISE, "ollama"), (LEFT_TO_VLLM, "vllm")):
        sweep = sweeps(default)
        for case in table:
            if 200 not in BY_ID[case]["expect_status"] \
                    and not case.startswith("js-"):
                assert any(MARK in sweep.verdicts[shape, case].bytes
                           for shape in sweep.shapes), case
    for case in STOPPED:
        assert MARK in sweeps("vllm").verdicts["oracle", case].bytes, case


def test_count(sweeps, record_property):
    """Last: says how many cases got their verdict."""
    for default, shape in WAYS:
        right = sweeps(default).right[shape]
        record_property(f"hostile {shape} ({default}):",
                        f"{right} of {len(CASES)}")
        assert right == len(CASES) == 229
