"""The control socket and llm-proxyctl: what they say, what they do, and what
a client of the socket cannot do."""

import json
import os
import re
import shutil
import socket
import stat
import threading
import time

import pytest
from ctl import (CTL, ask_json, control_client, ctl, rest, run_ctl,
                 stopped_thread)
from daemon import SLOW, TOKEN, eventually, run_daemon
from raw import Client, ask, chat, request

ALICE = [{"token": TOKEN, "label": "alice", "rpm": 3, "rpd": 100}]
# Both bytes of U+009B are one control character to a terminal.
ODD_MODEL = "vllm:m\u009b2J\u00e9"


class Gate:
    """Streams one event, and the end when the gate opens."""

    def __init__(self):
        self.open = threading.Event()

    def __call__(self, _got, peer):
        peer.sse_head()
        peer.sse({"n": 1})
        while not self.open.is_set():
            peer.pause(0.01)
        peer.sse("[DONE]")
        peer.end()


def ok(_request, peer):
    peer.whole({"ok": 1})


@pytest.fixture
def controlled(proxy, tmp_path):
    """controlled(handler, SETTING=value): a daemon with a control socket."""
    def make(handler=ok, **named):
        named.setdefault("CONTROL_SOCKET", tmp_path / "control.sock")
        return proxy(handler, **named)[0]
    return make


def start_stream(daemon, model="vllm:m"):
    client = Client(daemon.port)
    client.send(request(body=chat(model=model, stream=True)))
    answer = client.head()
    client.chunk(answer)
    return client, answer


def test_status(controlled):
    daemon = controlled(WORKERS=2, tokens=ALICE)
    assert ask(daemon.port, body=chat()).status == 200
    assert ask(daemon.port, body=chat(), token="wrong-token").status == 401
    with Client(daemon.port):
        eventually(lambda: ask_json(daemon, "status")["connections"] == 1)
        said = ask_json(daemon, "status")
    assert said["pid"] == daemon.pid and said["phase"] == "serving"
    assert said["version"] == re.search(r"llm-proxyd (\S+)",
                                        run_daemon("-V")[1])[1]
    assert said["config"] == str(daemon.config)
    assert said["listeners"] == [f"127.0.0.1:{daemon.port}"]
    assert said["requests"]["done"] == said["requests"]["denied"] == 1
    assert len(said["workers"]) == 2 and "late_workers" not in said
    assert sum(worker["connections"] for worker in said["workers"]) == 1
    assert said["generation"] == 1 and said["reload_failed"] is False
    assert 0 <= said["uptime_ms"] < 60_000 * SLOW
    daemon.advance(3_600_000)
    text = ctl(daemon, "status").out
    assert re.match(rf"llm-proxyd \S+, pid {daemon.pid}, serving, up 1h0\dm\n",
                    text)
    assert "1 done, 1 denied" in text and str(daemon.config) in text


def test_buffered_bytes_are_seen(controlled):
    daemon = controlled()
    with Client(daemon.port) as client:
        body = json.dumps(chat(text="x" * 100_000)).encode()
        head = request(body=chat(text="x" * 100_000)).split(b"\r\n\r\n")[0]
        client.send(head + b"\r\n\r\n" + body[:50_000])
        eventually(
            lambda: ask_json(daemon, "status")["buffered_bytes"] == 50_000)
        (one,) = ask_json(daemon, "top")["running"]
    assert one["phase"] == "request" and one["label"] == "demo"


def test_top_lists_what_runs(controlled):
    gate = Gate()
    daemon = controlled(gate, tokens=ALICE, WORKERS=1, BACKEND_MAX_INFLIGHT=1)
    client, _ = start_stream(daemon, ODD_MODEL)
    with client, Client(daemon.port) as second:
        second.send(request(body=chat(stream=True)))
        eventually(lambda: [e["phase"] for e in
                            ask_json(daemon, "top")["running"]]
                   == ["answer", "queue"])
        said = ask_json(daemon, "top")
        text = ctl(daemon, "top")
        backends = ask_json(daemon, "backends")["backends"]
        gate.open.set()
        second.answer()
    first, queued = said["running"]
    assert first["label"] == "alice" and first["backend"] == "vllm"
    assert first["endpoint"] == "chat" and first["pieces"] == 1
    assert first["bytes"] > 0 and first["id"].startswith("req_")
    assert first["peer"].startswith("127.0.0.1:") and first["age_ms"] >= 0
    assert first["model"] == r"vllm:m\xc2\x9b2J\xc3\xa9"
    assert queued["model"] == "vllm:m"
    (label,) = said["labels"]
    assert label["label"] == "alice" and label["running"] == 2
    assert label["minute"]["used"] == 2 and label["minute"]["limit"] == 3
    assert [b["inflight"] for b in backends] == [0, 1]
    assert [b["queued"] for b in backends] == [0, 1]
    assert backends[1]["max_inflight"] == 1
    assert text.code == 0 and text.out.isascii() and "\x1b" not in text.out
    assert re.search(r"^ *\S+ +answer +alice +vllm:m\\xc2\\x9b2J\\xc3\\xa9 ",
                     text.out, re.M)
    eventually(lambda: ask_json(daemon, "top")["running"] == [])


def test_tokens_and_reset(controlled):
    daemon = controlled(WORKERS=4, tokens=ALICE + [
        {"token": "bob-key-123", "label": "bob", "concurrency": 2,
         "disabled": True, "expires": "2030-01-01T00:00:00Z"}])
    statuses = [ask(daemon.port, body=chat()).status for _ in range(5)]
    assert statuses == [200] * 3 + [429] * 2
    alice, bob = ask_json(daemon, "tokens")["tokens"]
    assert (alice["label"], bob["label"]) == ("alice", "bob")
    assert alice["minute"]["used"] == alice["minute"]["limit"] == 3
    assert 0 < alice["minute"]["reset_ms"] <= 60_000
    assert alice["day"]["used"] == 3 and alice["day"]["limit"] == 100
    assert bob["minute"] == {"used": 0, "limit": None, "reset_ms": 0}
    assert bob["concurrency"] == 2 and bob["disabled"] is True
    assert bob["expires"] == "2030-01-01T00:00:00.000Z"
    text = ctl(daemon, "tokens").out
    assert re.search(r"^alice +0/- +3/3 ", text, re.M)
    assert "disabled, until 2030-01-01T00:00:00Z" in text
    wrong = ctl(daemon, "limiter", "reset", "alise")
    assert wrong.code == 64 and "did you mean 'alice'?" in wrong.err
    assert ask(daemon.port, body=chat()).status == 429
    assert ctl(daemon, "limiter", "reset", "alice").out == "reset, in memory\n"
    assert ask_json(daemon, "tokens")["tokens"][0]["day"]["used"] == 0
    statuses = [ask(daemon.port, body=chat()).status for _ in range(4)]
    assert statuses == [200] * 3 + [429]


@pytest.mark.parametrize("lease", [0, 1])
def test_reset_in_redis(controlled, redis, lease):
    server = redis()
    daemon = controlled(WORKERS=4, RATE_LIMIT_STORE="redis", tokens=[
        {"token": TOKEN, "label": "alice", "rpm": 600 if lease else 3}],
        RATE_LIMIT_LEASE=lease, REDIS_URL=server.url, REDIS_TIMEOUT="2s")
    limit = 600 if lease else 3
    (before,) = ask_json(daemon, "tokens")["tokens"]
    assert before["minute"] == {"used": None, "limit": limit, "reset_ms": 0}
    for _ in range(2):
        statuses = [ask(daemon.port, body=chat()).status
                    for _ in range(limit + 20)]
        # Units of a lease may be with a worker that nobody asks, or not yet.
        assert (limit - 32 if lease else 3) <= statuses.count(200) <= limit
        assert lease or statuses[-1] == 429
        done = ctl(daemon, "limiter", "reset", "alice")
        assert (done.code, done.out) == (0, "reset, in redis\n"), done.err
    assert ask(daemon.port, body=chat()).status == 200
    (used,) = ask_json(daemon, "tokens")["tokens"]
    assert 1 <= used["minute"]["used"] <= 32
    server.kill()
    daemon.wait_log("does not decide")
    gone = ctl(daemon, "limiter", "reset", "alice")
    assert gone.code == 69 and "Redis" in gone.err
    assert ask_json(daemon, "status")["limit_store_decides"] is False


def test_backends(controlled):
    def handler(got, peer):
        if got.json["model"] == "dies":
            peer.close()
        else:
            peer.whole({"ok": 1})
    daemon = controlled(handler)
    first = ask_json(daemon, "backends")["backends"]
    assert [b["name"] for b in first] == ["ollama", "vllm"]
    assert [b["state"] for b in first] == ["unknown"] * 2
    assert first[1]["url"] == daemon.settings["VLLM_BASE_URL"]
    assert first[0]["default"] is True and first[0]["max_inflight"] is None
    assert ask(daemon.port, body=chat()).status == 200
    daemon.wait_access(1)  # it is counted after the client has it all
    daemon.advance(1000)
    assert ask(daemon.port, body=chat(model="vllm:dies")).status == 502
    _, vllm = ask_json(daemon, "backends")["backends"]
    assert (vllm["answered"], vllm["failed"]) == (1, 1)
    assert vllm["state"] == "fails" and vllm["last_error"]
    assert vllm["last_answer"] < vllm["last_failure"]
    daemon.advance(1000)
    assert ask(daemon.port, body=chat()).status == 200
    _, vllm = ask_json(daemon, "backends")["backends"]
    assert vllm["state"] == "answers"
    assert vllm["last_error"] in ctl(daemon, "backends").out


def test_reload_says_what_has_changed(controlled):
    daemon = controlled(tokens=ALICE, WORKERS=1)
    done = ctl(daemon, "reload")
    assert done.code == 0
    assert done.out == "reloaded, 1 tokens; nothing has changed\n"
    daemon.write_config(HEAD_TIMEOUT="9s", WORKERS=2, TOKENS_JSON=json.dumps(
        [{"token": "bob-key-123", "label": "bob"},
         {"token": TOKEN, "label": "alice", "rpm": 4}]))
    said = ask_json(daemon, "reload")
    assert said["changed"] == ["HEAD_TIMEOUT"]
    assert said["restart"] == ["WORKERS"]
    assert said["tokens_added"] == ["bob"]
    assert said["tokens_changed"] == ["alice"]
    assert said["tokens_removed"] == [] and said["tokens"] == 2
    assert ("reloaded, 2 tokens; changed: HEAD_TIMEOUT; tokens added: bob; "
            "tokens changed: alice\n") in daemon.log
    text = ctl(daemon, "reload").out.splitlines()
    assert text == ["reloaded, 2 tokens; nothing has changed",
                    "WORKERS has changed: takes a restart"]
    assert ask_json(daemon, "status")["generation"] == 4
    assert ask(daemon.port, body=chat(), token="bob-key-123").status == 200


def test_a_reload_that_fails_says_every_error(controlled, tmp_path):
    daemon = controlled()
    before = dict(daemon.settings)
    daemon.write_config(HEAD_TIMEOUT="soon", QUEUE_SIZE="-1")
    lines = daemon.config.read_text().splitlines()
    done = ctl(daemon, "reload")
    assert done.code == 78 and done.out == ""
    for name in "HEAD_TIMEOUT", "QUEUE_SIZE":
        number = next(i for i, line in enumerate(lines, 1)
                      if line.startswith(name))
        assert f"{daemon.config}:{number}: {name}: must be" in done.err
    said = ctl(daemon, "--json", "reload")
    assert said.code == 78 and said.json["ok"] is False
    assert len(said.json["errors"]) == 2
    assert ask_json(daemon, "status")["reload_failed"] is True
    assert "the last reload failed" in ctl(daemon, "status").out
    daemon.settings = before
    daemon.write_config(LOG_FILE=tmp_path / "none" / "log")
    assert ctl(daemon, "reload").code == 73
    daemon.write_config(LOG_FILE=None)
    config = daemon.config.read_text()
    daemon.config.unlink()
    socket_path = daemon.settings["CONTROL_SOCKET"]
    assert run_ctl("-s", socket_path, "reload").code == 66
    daemon.config.write_text(config)
    daemon.config.chmod(0o600)
    assert ctl(daemon, "reload").code == 0
    assert ask_json(daemon, "status")["reload_failed"] is False


def test_drain(controlled):
    gate = Gate()
    daemon = controlled(gate)
    client, answer = start_stream(daemon)
    with client:
        done = ctl(daemon, "drain")
        assert (done.code, done.out) == (
            0, "draining, 1 clients, for at most 1m00s\n")
        assert ask_json(daemon, "status")["phase"] == "draining"
        assert ctl(daemon, "drain").out == "the daemon is draining already\n"
        refused = ctl(daemon, "reload")
        assert refused.code == 69 and "draining" in refused.err
        gate.open.set()
        assert client.rest(answer).body.endswith(b"data: [DONE]\n\n")
        assert daemon.wait_exit() == 0
    assert not os.path.exists(daemon.settings["CONTROL_SOCKET"])


def test_log_level(controlled):
    daemon = controlled(LOG_LEVEL="notice")
    assert ctl(daemon, "loglevel").out == "notice\n"
    assert ctl(daemon, "loglevel", "error").out == "error\n"
    assert "log level: error" not in daemon.log
    ctl(daemon, "reload")
    assert ctl(daemon, "loglevel").out == "notice\n"
    assert ask_json(daemon, "loglevel", "debug") == {
        "ok": True, "level": "debug", "before": "notice"}
    assert "log level: debug" in daemon.log
    wrong = ctl(daemon, "loglevel", "loud")
    assert wrong.code == 64 and "warning, notice" in wrong.err


def test_config_is_what_dump_says(controlled):
    daemon = controlled(VLLM_API_KEY="key-for-vllm-6d2e")
    assert ctl(daemon, "config").out == run_daemon("-T", "-c",
                                                   daemon.config)[1]
    assert ask_json(daemon, "config")["settings"]["VLLM_API_KEY"] == "***"


def test_no_secret_is_said(controlled, redis):
    prompt, secrets = "prompt-mark-Zq81", [TOKEN, "new-token-77ab", "key-6d2e",
                                           "signing-secret-of-32-bytes-or-more",
                                           "pass-word-12"]
    gate = Gate()
    server = redis(requirepass=secrets[4])
    daemon = controlled(
        gate, tokens=ALICE, VLLM_API_KEY=secrets[2], RATE_LIMIT_STORE="redis",
        REDIS_URL=server.url.replace("redis://", f"redis://:{secrets[4]}@"),
        RATE_LIMIT_SHARED_SECRET=secrets[3], LOG_LEVEL="debug")
    said = ""
    with Client(daemon.port) as client:
        client.send(request(body=chat(text=prompt, stream=True)))
        client.chunk(client.head())
        daemon.write_config(TOKENS_JSON=json.dumps(
            [{"token": secrets[1], "label": "alice"}]))
        for words in ("status", "top", "tokens", "backends", "config",
                      "reload", "loglevel", "limiter reset alice"):
            for more in [], ["--json"]:
                done = ctl(daemon, *more, *words.split())
                assert done.code == 0, done.err
                said += done.out + done.err
        daemon.write_config(TOKENS_JSON=f'[{{"token":"{secrets[1]}",]')
        said += ctl(daemon, "reload").err
        gate.open.set()
    assert "alice" in said and "TOKENS_JSON" in said
    for secret in [prompt, *secrets]:
        assert secret not in said and secret not in daemon.log


def test_the_socket_file(controlled, tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))  # nobody listens, as after a crash
    first = controlled(CONTROL_SOCKET=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    code, _, err = run_daemon("-c", first.config)
    assert code == 71
    assert f"CONTROL_SOCKET: cannot listen on unix:{path}: bind: " in err
    assert ctl(first, "status").code == 0
    first.stop()
    assert not path.exists()
    path.write_text("no socket")
    code, _, err = run_daemon("-c", first.config)
    assert code == 71 and "not a socket" in err
    assert path.read_text() == "no socket"
    path.unlink()
    first.write_config(CONTROL_SOCKET="control.sock")
    code, _, err = run_daemon("-t", "-c", first.config)
    assert code == 78 and "an absolute path" in err


def test_where_the_socket_is(controlled, tmp_path):
    daemon = controlled()
    path = daemon.settings["CONTROL_SOCKET"]
    assert run_ctl("-s", path, "status").code == 0
    assert run_ctl("status", env={"CONTROL_SOCKET": str(path)}).code == 0
    # However wrong the rest of the file is.
    daemon.config.write_text(daemon.config.read_text() + "NONSENSE\n")
    assert ctl(daemon, "status").code == 0
    other = tmp_path / "other.conf"
    other.write_text("WORKERS=1\n")
    unset = run_ctl("-c", other, "status")
    assert unset.code == 78 and f"not set in {other}" in unset.err
    none = run_ctl("-c", tmp_path / "none", "status")
    assert none.code == 66 and "-s" in none.err
    daemon.write_config()
    daemon.stop()
    gone = ctl(daemon, "status")
    assert gone.code == 69 and "is the daemon running" in gone.err
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    dead = ctl(daemon, "status")
    assert dead.code == 69 and "not running" in dead.err


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody else")
def test_others_are_kept_out(controlled):
    daemon = controlled()
    path = daemon.settings["CONTROL_SOCKET"]
    folder = path.parent
    while folder != folder.parent:  # pytest's are its user's alone
        folder.chmod(folder.stat().st_mode | 0o011)
        folder = folder.parent
    # The checkout may be its user's alone.
    program = shutil.copy(CTL, path.parent)
    stranger = run_ctl("-s", path, "status", program=program, user=54321,
                       group=54321, extra_groups=[])
    assert stranger.code == 77 and "permission denied" in stranger.err
    member = run_ctl("-s", path, "status", program=program, user=54321,
                     group=0, extra_groups=[])
    assert member.code == 0, member.err


@pytest.mark.parametrize("words, said", [
    ([], "a command is missing"),
    (["stat"], "did you mean 'status'?"),
    (["toknes"], "did you mean 'tokens'?"),
    (["limiter"], "limiter reset LABEL"),
    (["limiter", "reset"], "limiter reset takes LABEL"),
    (["status", "now"], "status takes no argument"),
    (["--what"], "--what"),
    (["--delay", "0", "top"], "1 to 3600 seconds"),
])
def test_wrong_usage(words, said):
    done = run_ctl(*words)
    assert done.code == 64 and done.out == ""
    assert said in done.err and "Try 'llm-proxyctl --help'." in done.err


def test_others_can_speak_it(controlled):
    daemon = controlled()
    for line, code in ((b"status\n", None), (b"status", None),
                       (b"  status \r\nignored\n", None), (b"\n", 64),
                       (b"nonsense\x1b[2J\xff\n", 64), (b"\0" * 99, 64)):
        with control_client(daemon) as client:
            client.sendall(line)
            client.shutdown(socket.SHUT_WR)
            got = rest(client)
        assert got.endswith(b"}\n") and b"\x1b" not in got
        said = json.loads(got)
        assert said["ok"] is (code is None) and said.get("code") == code


def test_hostile_clients_disturb_nobody(controlled):
    daemon = controlled(WORKERS=1)
    assert ask(daemon.port, body=chat()).status == 200  # a backend's is kept
    before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    with control_client(daemon) as client:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:  # a MiB, and another
                client.sendall(b"x" * (1 << 20))
    clients = [control_client(daemon) for _ in range(100)]
    for i, client in enumerate(clients):
        try:
            client.sendall(b"stat" if i % 2 else b"")
        except OSError:
            pass  # it had to make room
    began = time.monotonic()
    assert ctl(daemon, "status").code == 0
    assert ask(daemon.port, body=chat()).status == 200
    assert time.monotonic() - began < 2 * SLOW
    assert len(os.listdir(f"/proc/{daemon.pid}/fd")) < before + 30
    said = rest(clients[-1])  # its line does not come in time
    assert json.loads(said)["code"] == 64
    for client in clients:
        client.close()
    eventually(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) <= before)


def test_who_does_not_read_keeps_nobody_out(controlled):
    daemon = controlled(tokens=ALICE + [
        {"token": f"token-number-{n}", "label": f"label-{n}" + 50 * "x"}
        for n in range(5000)])
    before = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    deaf = [control_client(daemon) for _ in range(20)]
    for client in deaf:
        try:
            client.sendall(b"tokens\n")
            client.recv(1)  # the rest does not fit into the socket
        except OSError:
            pass  # it had to make room
    assert len(ask_json(daemon, "tokens")["tokens"]) == 5001
    assert len(ctl(daemon, "tokens").out.splitlines()) == 5002
    for client in deaf:
        client.close()
    eventually(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) <= before)


def test_a_stuck_worker_is_named(controlled):
    daemon = controlled(WORKERS=2, tokens=ALICE)
    workers = [daemon.thread(f"worker {n}") for n in (0, 1)]
    with stopped_thread(workers[0]):
        began = time.monotonic()
        done = ctl(daemon, "--json", "status")
        assert time.monotonic() - began < 5 * SLOW
        assert done.code == 75 and "worker 0 did not answer" in done.err
        assert done.json["late_workers"] == [0]
        assert [w["answers"] for w in done.json["workers"]] == [False, True]
        assert done.json["pid"] == daemon.pid
        text = ctl(daemon, "status")
        assert text.code == 75 and "by workers: ?, 0" in text.out
        late = ctl(daemon, "limiter", "reset", "alice")
        assert late.code == 69 and "no answer in time" in late.err
        assert ctl(daemon, "backends").code == 0
    assert ctl(daemon, "status").code == 0
