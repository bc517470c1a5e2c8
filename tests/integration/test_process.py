"""The process: signals, drain, reload, the access log and request ids."""

import contextlib
import json
import os
import re
import signal

import pytest
from ctl import stopped_thread
from daemon import SLOW, TOKEN, Daemon, eventually
from raw import Client, Closed, ask, chat, request
from streamer import Streamer, start_stream

SECRET = "the-prompt-nobody-logs"
LIMITED = [{"token": TOKEN, "label": "alice", "rpm": 10}]


def refused(daemon):
    try:
        Client(daemon.port, timeout=1).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    except TimeoutError:
        pass
    return False


# The end ----------------------------------------------------------------------

@pytest.mark.threads
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_drain_lets_streams_finish(proxy, workers, number):
    streamer = Streamer()
    daemon, _ = proxy(streamer, WORKERS=workers, DRAIN_DELAY=f"{SLOW}s")
    client, answer = start_stream(daemon)
    idle = Client(daemon.port)
    assert idle.ask("/readyz").status == 200
    daemon.signal(number)
    daemon.wait_log("draining, 2 clients")
    # The balancer is told, but whoever still comes is served.
    told = ask(daemon.port, "/readyz")
    assert (told.status, told.json) == (503, {"status": "draining"})
    assert ask(daemon.port, "/healthz").status == 200
    assert ask(daemon.port, "/v1/models").status in (200, 502)
    eventually(lambda: refused(daemon))
    assert idle.closed()
    assert daemon.process.poll() is None
    streamer.gate.set()
    client.rest(answer)
    assert answer.events == [{"n": 1}, {"n": 2}, "[DONE]"]
    assert client.closed()
    assert daemon.wait_exit() == 0
    assert "cut off" not in daemon.log
    assert "done" in [line["cause"] for line in daemon.access]


@pytest.mark.threads
@pytest.mark.parametrize("model", ["vllm:m", "ollama:m"])
def test_a_drain_has_an_end(proxy, workers, model):
    def handler(got, peer):
        if got.path == "/api/chat":
            peer.ndjson_head()
            peer.line({"model": "m", "created_at": "2026-09-01T08:31:00Z",
                       "message": {"role": "assistant", "content": "first"},
                       "done": False})
        elif got.json.get("stream"):
            peer.sse_head()
            peer.sse({"n": 1})
        peer.wait_closed(20 * SLOW)

    daemon, behind = proxy(handler, WORKERS=workers, DRAIN_TIMEOUT="300ms")
    streaming, waiting = Client(daemon.port), Client(daemon.port)
    streaming.send(request(body=chat(model, stream=True)))
    answer = streaming.head()
    streaming.chunk(answer)
    waiting.send(request(body=chat()))
    behind.wait_requests(2)
    daemon.signal(signal.SIGTERM)
    with pytest.raises(Closed):
        streaming.rest(answer)
    assert "[DONE]" not in answer.events
    assert answer.events[-1]["error"]["code"] == "shutting_down"
    late = waiting.answer()
    assert (late.status, late.error["code"]) == (503, "shutting_down")
    assert late.header("Retry-After") == "1"
    assert daemon.wait_exit() == 0
    assert "2 clients cut off" in daemon.log
    assert [line["cause"] for line in daemon.access] == ["shutdown"] * 2


@pytest.mark.threads
@pytest.mark.parametrize("delay", [0, "60s"])
def test_a_second_signal_ends_it_at_once(proxy, workers, delay):
    daemon, _ = proxy(Streamer(), WORKERS=workers, DRAIN_DELAY=delay)
    client, answer = start_stream(daemon)
    daemon.signal(signal.SIGTERM)
    daemon.wait_log("draining, 1 clients")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit(2) == 0
    with pytest.raises(Closed):
        client.rest(answer)
    assert answer.events[-1]["error"]["code"] == "shutting_down"
    assert [line["cause"] for line in daemon.access] == ["shutdown"]


@pytest.mark.threads
def test_an_interrupt_is_fast_and_honest(proxy, workers):
    daemon, _ = proxy(Streamer(), WORKERS=workers, DRAIN_DELAY="60s")
    client, answer = start_stream(daemon)
    daemon.signal(signal.SIGINT)
    assert daemon.wait_exit(3) == 0
    with pytest.raises(Closed):
        client.rest(answer)
    assert answer.events[-1]["error"]["code"] == "shutting_down"


@pytest.mark.threads
def test_an_idle_daemon_ends_at_once(proxy, workers):
    daemon, _ = proxy(WORKERS=workers)
    idle = [Client(daemon.port) for _ in range(20)]
    for client in idle[10:]:
        assert client.ask("/healthz").status == 200
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit(5) == 0
    assert all(client.closed() for client in idle)
    assert refused(daemon)


def test_a_stuck_thread_does_not_hold_the_end_up(tmp_path):
    one = Daemon(tmp_path, WORKERS=2)
    thread = one.thread("worker 1")
    with contextlib.suppress(ProcessLookupError):  # nobody to let go
        with stopped_thread(thread):
            one.signal(signal.SIGTERM)
            one.wait_log("draining, ")
            one.signal(signal.SIGTERM)
            one.wait_log("a thread does not end, giving it up")
            all_threads = 0x40000000  # whoever stops it must bury it, too
            os.waitpid(thread, all_threads)
    assert one.process.wait(10 * SLOW) == 70


def test_a_start_with_blocked_signals(daemon):
    one = daemon(preexec=lambda: signal.pthread_sigmask(
        signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGHUP]))
    one.reload()
    one.signal(signal.SIGTERM)
    assert one.wait_exit() == 0


def test_signals_that_come_too_late_change_nothing(daemon):
    """Down to the last moment: it has ended well, and says so."""
    for _ in range(5):
        one = daemon()
        while one.process.poll() is None:
            one.signal(signal.SIGINT)
            one.signal(signal.SIGTERM)
        assert one.process.returncode == 0, one.log


# Reload -----------------------------------------------------------------------

@pytest.mark.threads
def test_a_reload_drops_no_stream(proxy, workers):
    streamer = Streamer()
    daemon, _ = proxy(streamer, WORKERS=workers, tokens=LIMITED)
    client, answer = start_stream(daemon)
    fresh = [{"token": "a-new-key-1", "label": "bob"}, *LIMITED]
    daemon.write_config(TOKENS_JSON=json.dumps(fresh), MAX_BODY_BYTES=100)
    daemon.reload()
    assert "reloaded, 2 tokens" in daemon.log
    large = chat(text="x" * 100)
    eventually(lambda: ask(daemon.port, body=large).status == 413)
    told = ask(daemon.port, body=b"{bad")
    assert told.header("X-RateLimit-Remaining-Requests") == "9"
    daemon.write_config(TOKENS_JSON=json.dumps(fresh[:1]))
    daemon.reload()
    eventually(lambda: ask(daemon.port, body=b"{}").status == 401)
    assert ask(daemon.port, body=b"{}", token="a-new-key-1").status == 400
    # The stream began with a token that is gone now.
    streamer.gate.set()
    client.rest(answer)
    assert answer.events == [{"n": 1}, {"n": 2}, "[DONE]"]
    eventually(lambda: ("alice", "200", "done") in [
        (line["label"], line["status"], line["cause"])
        for line in daemon.access])


def test_a_bad_file_changes_nothing(proxy):
    daemon, _ = proxy(lambda _r, peer: peer.whole({"ok": 1}))
    for changes in ({"MAX_BODY_BYTES": "10", "BODY_TIMEOUT": "soon"},
                    {"MAX_BODY_BYTES": "10", "TOKENS_JSON": "[{}]"}):
        bad = list(changes)[1]
        before = dict(daemon.settings)
        daemon.write_config(**changes)
        line = list(daemon.settings).index(bad) + 1
        daemon.reload(good=False)
        assert re.search(rf"error: {re.escape(str(daemon.config))}:{line}: ",
                         daemon.log)
        assert ask(daemon.port, body=chat()).status == 200
        daemon.settings = before
    daemon.config.unlink()
    daemon.reload(good=False)
    assert "cannot be read" in daemon.log
    os.mkfifo(daemon.config)  # to open one waits for a writer
    daemon.reload(good=False)
    assert "cannot be read: not a regular file" in daemon.log
    daemon.config.unlink()
    assert ask(daemon.port, body=chat()).status == 200
    daemon.write_config()
    daemon.reload()


def test_a_reload_opens_the_logs_anew(proxy, tmp_path):
    log = tmp_path / "error.log"
    daemon, _ = proxy()
    daemon.write_config(LOG_FILE=log, LOG_LEVEL="debug")
    daemon.signal(signal.SIGHUP)
    eventually(lambda: log.exists() and "reloaded" in log.read_text())
    for path in (log, daemon.access_path):
        path.rename(path.with_suffix(".1"))
    daemon.signal(signal.SIGHUP)
    eventually(lambda: log.exists() and "reloaded" in log.read_text())
    ask(daemon.port, "/healthz")
    assert len(daemon.wait_access(1)) == 1


# The access log ---------------------------------------------------------------

def scripted(got, peer):
    """Does what the model's name says."""
    what = got.json["model"].partition(" ")[0]
    if what == "dies":
        peer.close()
    elif what == "sleeps":
        peer.wait_closed(20 * SLOW)
    else:
        peer.whole({"ok": 1})


CAUSES = [
    # model, named arguments, status, cause, label
    ("vllm:works", {}, 200, "done", "alice"),
    ("vllm:works", {"token": "wrong-key-1"}, 401, "denied", None),
    ("vllm:dies", {}, 502, "backend_error", "alice"),
    ("vllm:sleeps", {}, 504, "timeout", "alice"),
    ("", {}, 400, "client_error", "alice"),
    ("vllm:works", {"path": "/v1/nope"}, 404, "client_error", None),
    ('vllm:works "\u00e9 cause=x', {}, 200, "done", "alice"),
    ('vllm:works "\n\x7f cause=x', {}, 400, "client_error", "alice"),
]


@pytest.mark.parametrize("form", ["text", "json"])
def test_access_lines(proxy, form):
    daemon, behind = proxy(scripted, tokens=[{**LIMITED[0], "rpm": 6}],
                      LOG_FORMAT=form, FIRST_BYTE_TIMEOUT=f"{300 * SLOW}ms",
                      WORKERS=1, LOG_LEVEL="debug")
    expected = []
    for number, (model, named, status, cause, label) in enumerate(CAUSES):
        answer = ask(daemon.port, body=chat(model, text=SECRET),
                     headers=[f"X-Request-Id: id-{number}"], **named)
        assert answer.status == status
        expected.append((f"id-{number}", label, status, cause))
    sent = len(behind.requests)
    with Client(daemon.port) as client:
        client.send(request(body=chat("vllm:sleeps", text=SECRET),
                            headers=["X-Request-Id: gone"]))
        behind.wait_requests(sent + 1)
    expected.append(("gone", "alice", 499, "client_gone"))
    eventually(lambda: len(daemon.access_path.read_text().split("\n"))
               > len(expected))
    ask(daemon.port, body=chat("vllm:works"))
    assert ask(daemon.port, body=chat("vllm:works", text=SECRET),
               headers=["X-Request-Id: denied"]).status == 429
    expected += [None, ("denied", "alice", 429, "denied")]
    text = ""
    while text.count("\n") < len(expected):
        text = daemon.access_path.read_text()
    lines = [json.loads(line) if form == "json" else parsed
             for line, parsed in zip(text.splitlines(), daemon.access)]
    for line, want in zip(lines, expected):
        if want:
            label = line["label"] if line["label"] != "-" else None
            assert (line["id"], label, int(line["status"]),
                    line["cause"]) == want
            assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+Z", line["ts"])
            assert line["peer"].startswith("127.0.0.1:")
            assert line["method"] == "POST"
    for line, escaped in ((lines[6], r"\x22\xc3\xa9 cause=x"),
                          (lines[7], r"\x22\x0a\x7f cause=x")):
        assert line["model"].strip('"') == "vllm:works " + escaped
    assert lines[0]["backend"] == "vllm" and lines[0]["endpoint"] == "chat"
    assert int(lines[3]["total_ms"]) >= 290
    assert all(re.fullmatch(r"[\x20-\x7e]*", line)
               for line in text.splitlines())
    for secret in (SECRET, TOKEN, "wrong-key-1"):
        assert secret not in text + daemon.log


def test_the_access_log_may_be_off_or_on_stderr(proxy):
    off, _ = proxy(ACCESS_LOG=None)
    assert ask(off.port, "/healthz").status == 200
    off.stop()
    assert "cause=" not in off.log
    assert not off.access_path.exists()
    beside, _ = proxy(ACCESS_LOG="-")
    assert ask(beside.port, "/healthz").status == 200
    beside.wait_log("endpoint=healthz .* status=200 cause=done ")


# Request ids ------------------------------------------------------------------

@pytest.mark.parametrize("sent, kept", [
    ("abc-123_DEF.4:5+6=7@8", True), ("x" * 128, True),
    ("e9cf2e584b7ebeff49ba59a6c717fed3", True),
    ("x" * 129, False), ("a b", False), ('a"b', False), ("a;b", False),
    ("caf\u00e9", False), ("a\tb", False), ("", False), (None, False),
])
@pytest.mark.parametrize("model", ["vllm:m", "ollama:m"])
def test_request_ids(proxy, sent, kept, model):
    daemon, behind = proxy(lambda _r, peer: peer.whole(
        {"message": {"content": "a"}, "done": True, "done_reason": "stop"}))
    headers = [] if sent is None else [f"X-Request-ID: {sent}"]
    answer = ask(daemon.port, body=chat(model), headers=headers)
    assert answer.status == 200
    given = answer.header("X-Request-Id")
    if kept:
        assert given == sent
    else:
        assert re.fullmatch(r"req_[0-9a-f]{24}", given)
    assert behind.requests[0].header("X-Request-Id") == given
    assert daemon.wait_access(1)[0]["id"] == given
