"""Limits that daemons share through Redis: decisions, headers, what is kept
there, and what the configuration says of it."""

import hashlib
import json
import re
import threading

import pytest
from ctl import ctl
from daemon import ROOT, TOKEN, run_daemon
from raw import Client, ask, chat, crowd, request
from test_limits import limited, ok

KEY = "llmp:{" + hashlib.sha256(TOKEN.encode()).hexdigest()[:32] + "}"

# What the manual says a user of ours must be able to do.
ACCESS = re.search(r"^\.Li (~llmp.*)\n\.Li (.*) \.$", (
    ROOT / "man/llm-proxy.conf.5").read_text(), re.M).expand(
        r"\1 \2").split()


@pytest.fixture
def shared(proxy):
    """shared(server, handler, SETTING=value): a daemon that counts there."""
    def make(server, handler=ok, **named):
        named.setdefault("REDIS_URL", server.url)
        daemon, behind = proxy(handler, RATE_LIMIT_STORE="redis",
                               REDIS_TIMEOUT="2s", **named)
        return daemon, behind
    return make


def statuses(daemon, count, body=None):
    return [ask(daemon.port, body=body or chat()).status
            for _ in range(count)]


def test_headers_come_from_redis(redis, shared):
    store = redis()
    daemon, behind = shared(store, tokens=limited(rpm=3, rpd=100))
    for left in (2, 1, 0):
        answer = ask(daemon.port, body=chat())
        assert answer.status == 200
        assert answer.header("x-ratelimit-limit-requests") == "3"
        assert answer.header("x-ratelimit-remaining-requests") == str(left)
        assert answer.header("x-ratelimit-reset-requests").endswith("s")
        assert answer.header("x-ratelimit-remaining-requests-day") == str(
            97 + left)
    denied = ask(daemon.port, body=chat())
    assert denied.status == 429
    wait_ms = int(denied.header("retry-after-ms"))
    assert 50_000 < wait_ms <= 60_000
    assert int(denied.header("Retry-After")) == -(-wait_ms // 1000)
    assert len(behind.requests) == 3
    # Redis' clock counts, not the daemon's.
    daemon.advance(120_000)
    assert statuses(daemon, 1) == [429]


def test_the_day_is_denied_as_such(redis, shared):
    daemon, _ = shared(redis(), tokens=limited(rpd=1))
    assert statuses(daemon, 1) == [200]
    denied = ask(daemon.port, body=chat())
    assert denied.status == 429
    assert denied.header("x-should-retry") == "false"
    assert "will reset at 00:00 UTC" in denied.error["message"]


def test_daemons_share_and_a_lowered_limit_counts(redis, shared):
    store = redis()
    one, _ = shared(store, tokens=limited(rpm=10))
    two, _ = shared(store, tokens=limited(rpm=10))
    assert statuses(one, 3) + statuses(two, 3) == [200] * 6
    two.write_config(TOKENS_JSON=json.dumps(limited(rpm=7)))
    two.reload()
    answer = ask(two.port, body=chat())
    assert answer.status == 200
    assert answer.header("x-ratelimit-remaining-requests") == "0"
    assert statuses(two, 1) == [429]
    assert statuses(one, 4) == [200] * 3 + [429]


def test_no_token_is_kept_and_the_key_ends_with_its_day(redis, shared):
    store = redis()
    daemon, _ = shared(store, tokens=limited(rpm=5))
    assert statuses(daemon, 2) == [200, 200]
    assert store.keys() == [KEY]
    assert store.ask("HGET", KEY, "c") == "2"
    assert 0 < store.ask("PTTL", KEY) <= 86_401_000
    dump = store.ask("HGETALL", KEY)
    assert TOKEN not in json.dumps(dump)


def test_unlimited_tokens_never_ask(redis, shared):
    store = redis()
    daemon, _ = shared(store)
    assert statuses(daemon, 3) == [200] * 3
    assert store.calls("evalsha") == 0


@pytest.mark.parametrize("model", ["vllm:m", "ollama:m"])
def test_what_reached_no_backend_is_given_back(redis, daemon, model):
    store = redis()
    # Of several, one may ask Redis before it has heard another's refund.
    one = daemon(RATE_LIMIT_STORE="redis", REDIS_URL=store.url, WORKERS=1,
                 REDIS_TIMEOUT="2s", tokens=limited(rpm=2))
    for _ in range(5):
        answer = ask(one.port, body=chat(model))
        assert answer.status == 502
        assert answer.header("x-ratelimit-remaining-requests") == "2"
    store.wait_field(KEY, "c", 0)
    store.wait_field(KEY, "e", 0)


def test_denials_are_answered_here_for_a_while(redis, shared):
    store = redis()
    daemon, _ = shared(store, WORKERS=1, tokens=limited(rpm=1))
    assert statuses(daemon, 1) == [200]
    with Client(daemon.port) as client:
        answers = [client.ask(body=chat()) for _ in range(20)]
    assert {answer.status for answer in answers} == {429}
    waits = [int(answer.header("retry-after-ms")) for answer in answers]
    assert waits == sorted(waits, reverse=True)
    # One asked; all others came within its second, or a few of them.
    assert store.calls("evalsha") < 10


def test_all_of_a_turn_go_out_in_one_write(redis, shared):
    """Requests that wait for Redis' first answer are sent together."""
    store = redis()
    daemon, _ = shared(store, WORKERS=1, tokens=limited(rpm=100))
    assert statuses(daemon, 1) == [200]
    store.freeze()
    assert crowd(daemon.port, 20, store.thaw) == [200] * 20
    assert store.ask("HGET", KEY, "c") == "21"


def test_a_client_that_leaves_gets_its_unit_back(redis, shared):
    store = redis()
    daemon, behind = shared(store, tokens=limited(rpm=5))
    assert statuses(daemon, 1) == [200]
    store.freeze()
    clients = [Client(daemon.port) for _ in range(3)]
    for client in clients:
        client.send(request(body=chat()))
    for client in clients:
        client.close()
    lines = daemon.wait_access(4)
    causes = sorted(line["cause"] for line in lines)
    assert causes == ["client_gone"] * 3 + ["done"]
    store.thaw()
    assert ask(daemon.port, body=chat()).status == 200
    store.wait_field(KEY, "c", 2)
    assert len(behind.requests) == 2


@pytest.mark.parametrize("how", ["unix", "db", "password", "user"])
def test_ways_to_get_in(redis, shared, how, tmp_path):
    settings = {"requirepass": "s3cr%t/:@"} if how == "password" else {}
    store = redis(**settings)
    if how == "user":
        store.ask("ACL", "SETUSER", "llm", "on", ">pä ss#1", *ACCESS)
    url = {"unix": store.unix_url,
           "db": f"redis://localhost:{store.port}/7",
           "password": f"redis://:s3cr%25t%2F%3A%40@127.0.0.1:{store.port}",
           "user": f"redis://llm:p%C3%A4%20ss%231@127.0.0.1:{store.port}/0",
           }[how]
    daemon, _ = shared(store, REDIS_URL=url, tokens=limited(rpm=2),
                       CONTROL_SOCKET=tmp_path / "control.sock")
    assert statuses(daemon, 3) == [200, 200, 429]
    assert ctl(daemon, "limiter", "reset", "alice").code == 0
    assert statuses(daemon, 3) == [200, 200, 429]
    if how == "user":
        store.ask("ACL", "SETUSER", "llm", "-del")
        refused = ctl(daemon, "limiter", "reset", "alice")
        assert refused.code == 69 and "NOPERM" in refused.err
        assert statuses(daemon, 1) == [429]
    link = store.link()
    if how == "db":
        assert link.ask("KEYS", "*") == []
        link.ask("SELECT", 7)
    assert link.ask("KEYS", "*") == [KEY]
    names = [line for line in link.ask("CLIENT", "LIST").splitlines()
             if "name=llm-proxyd" in line]
    link.close()
    assert len(names) == 2  # one a worker
    assert "does not decide" not in daemon.log


def test_another_server_after_a_reload(redis, shared):
    first, second = redis(), redis()
    daemon, _ = shared(first, tokens=limited(rpm=2))
    assert statuses(daemon, 3) == [200, 200, 429]
    daemon.write_config(REDIS_URL=second.url)
    daemon.reload()
    assert statuses(daemon, 3) == [200, 200, 429]
    assert first.keys() == second.keys() == [KEY]
    # The store itself takes a restart.
    daemon.write_config(RATE_LIMIT_STORE="memory", REDIS_URL=None)
    daemon.reload()
    assert "RATE_LIMIT_STORE has changed: takes a restart" in daemon.log
    assert statuses(daemon, 1) == [429]


def test_secrets_are_nowhere(redis, shared):
    store = redis(requirepass="hunter2secret")
    url = f"redis://:hunter2secret@127.0.0.1:{store.port}/0"
    daemon, _ = shared(store, REDIS_URL=url, tokens=limited(rpm=1),
                       LOG_LEVEL="debug")
    assert statuses(daemon, 2) == [200, 429]
    store.kill()
    daemon.wait_log("does not decide")
    code, out, err = run_daemon("-T", "-c", daemon.config)
    assert code == 0
    assert f"REDIS_URL=redis://:***@127.0.0.1:{store.port}/0\n" in out
    assert "hunter2" not in daemon.log + out + err


@pytest.mark.threads
def test_requests_of_many_threads(redis, shared, workers):
    store = redis()
    daemon, behind = shared(store, WORKERS=workers, tokens=limited(rpm=50))
    got = []

    def go():
        with Client(daemon.port) as client:
            got.extend(client.ask(body=chat()).status for _ in range(10))

    threads = [threading.Thread(target=go) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got.count(200) == 50 == len(behind.requests)
    assert got.count(429) == 110


# -t --connect ---------------------------------------------------------------

def test_connect_finds_a_good_store(redis, connect):
    store = redis()
    for url in (store.url, store.unix_url, store.unix_url + "?db=15"):
        assert connect(url) == (0, "configuration is ok\n")
    assert store.keys() == []


def test_connect_says_what_is_wrong(redis, fake_redis, connect):
    store = redis(requirepass="pw-of-redis")
    port = store.port
    store.ask("ACL", "SETUSER", "few", "on", ">few", "~*", "+@all",
              "-@scripting")
    gone = redis()
    gone.kill()
    no_eval = fake_redis(
        lambda words: b"-ERR unknown command 'SCRIPT', with args beginning "
        b"with: 'LOAD'\r\n" if words[0] == "SCRIPT" else None)
    no_auth = fake_redis(
        lambda words: b"-ERR unknown command 'AUTH', with args beginning "
        b"with: 'wrong-pw'\r\n" if words[0] == "AUTH" else None)
    for url, message in [
            (store.url, "noauth: the server asks for a password"),
            (f"redis://:wrong-pw@127.0.0.1:{port}",
             "wrongpass: the server refuses the user or the password"),
            (f"redis://:pw-of-redis@127.0.0.1:{port}/99",
             "wrong_db: ERR DB index is out of range"),
            (f"redis://few:few@127.0.0.1:{port}", "no_script: NOPERM"),
            (no_eval.url, "no_script: ERR unknown command 'SCRIPT'"),
            (f"redis://:wrong-pw@127.0.0.1:{no_auth.port}",
             "login: the server refuses the login"),
            (gone.url, "unreachable: Connection refused"),
            (gone.unix_url, "unreachable: "),
            ("redis://no-such-host.invalid",
             "no-such-host.invalid: Name or service not known")]:
        code, err = connect(url)
        assert code == 69, err
        assert message in err, err
        assert "wrong-pw" not in err and "pw-of-redis" not in err


def test_connect_does_not_wait_for_ever(redis, connect):
    store = redis()
    store.freeze()
    code, err = connect(store.url)
    assert code == 69 and "unreachable: no answer within a second" in err


def test_connect_needs_a_test(connect):
    assert run_daemon("--connect")[0] == 64
