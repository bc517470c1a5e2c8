"""Receipts where daemons share a Redis server: one counts once, whichever
daemon it is shown to, and when the server is down each daemon knows its own."""

import concurrent.futures
import time

import pytest
from daemon import SLOW
from raw import Client, ask, chat, request
from test_authz import SECRET, TOKENS, authz, ok, receipt, remaining
from test_redis import ACCESS, KEY
from test_redis_faults import LOST, POLICIES


@pytest.fixture
def pair(redis, backend, daemon):
    """pair(SETTING=value): two daemons on one Redis, and that."""
    def make(store=None, handler=ok, **named):
        store = store or redis()
        behind = backend(handler)
        settings = {"REDIS_URL": store.url, "REDIS_TIMEOUT": "5s",
                    "VLLM_BASE_URL": behind.url, "tokens": TOKENS,
                    "LOG_LEVEL": "info", **named}
        first, second = (daemon(RATE_LIMIT_STORE="redis",
                                RATE_LIMIT_SHARED_SECRET=SECRET, **settings)
                         for _ in range(2))
        return first, second, store
    return make


def show(daemon, checked, body=None):
    return ask(daemon.port, body=body or chat(),
               headers=["X-RateLimit-Checked: " + checked])


def test_once_over_all_daemons(redis, pair):
    """And what the manual says of a user's rights is enough for it."""
    store = redis()
    store.ask("ACL", "SETUSER", "llm", "on", ">pw", *ACCESS)
    first, second, _ = pair(
        store, REDIS_URL=f"redis://llm:pw@127.0.0.1:{store.port}")
    answer = authz(first, "X-Request-ID: abc")
    checked = answer.header("X-RateLimit-Checked")
    assert remaining(answer) == "4"
    taken = show(second, checked)
    assert taken.status == 200 and remaining(taken) is None
    assert sorted(store.keys()) == [KEY, KEY + ":abc"]
    assert 325_000 < store.ask("PTTL", KEY + ":abc") <= 331_000
    assert remaining(show(first, checked)) == "3"
    first.wait_log("receipt of alice refused: used before")
    assert "used before" not in second.log
    # Of its own a daemon knows without asking.
    assert remaining(show(second, checked)) == "2"
    # Another token's request of that name is another request.
    other = receipt("abc", token="other-key-456")
    assert ask(first.port, body=chat("vllm:m"), token="other-key-456",
               headers=["X-RateLimit-Checked: " + other]).status == 200
    assert store.ask("HGET", KEY, "c") == "3"


@pytest.mark.threads
def test_both_at_once(pair):
    first, second, store = pair(tokens=[{**TOKENS[0], "rpm": 1000,
                                         "rpd": 1000}])
    rounds = 30 if SLOW == 1 else 10
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for i in range(rounds):
            checked = receipt(f"r{i}")
            left = list(pool.map(
                lambda daemon, checked=checked: remaining(
                    show(daemon, checked)), [first, second] * 4))
            assert left.count(None) == 1
    assert store.ask("HGET", KEY, "c") == str(rounds * 7)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_store_is_down(pair, policy):
    """Each daemon goes by what it has seen itself; deny refuses."""
    first, second, store = pair(RATE_LIMIT_ON_ERROR=policy)
    store.kill()
    first.wait_log(LOST)
    second.wait_log(LOST)
    checked = receipt()
    for daemon in (first, second):
        answer = show(daemon, checked)
        if policy == "deny":
            assert answer.status == 503
            assert answer.error["code"] == "limiter_unavailable"
        else:
            assert answer.status == 200 and remaining(answer) is None
        again = show(daemon, checked)
        assert again.status == (503 if policy == "deny" else 200)
        assert remaining(again) == ("4" if policy == "local" else None)
        daemon.wait_log("refused: used before")


def test_it_dies_while_asked(pair):
    first, second, store = pair(REDIS_TIMEOUT="60s")
    checked = receipt()
    store.freeze()
    with Client(first.port) as client:
        client.send(request(body=chat(), headers=[
            "X-RateLimit-Checked: " + checked]))
        store.kill()
        answer = client.answer()
    assert answer.status == 200 and remaining(answer) is None
    assert "used before" not in first.log + second.log


def test_an_answer_that_comes_late(pair):
    """The daemon has gone by its own book; the others learn of it."""
    first, second, store = pair(REDIS_TIMEOUT="300ms")
    assert remaining(authz(first)) == "4"
    checked = receipt("late")
    store.freeze()
    assert remaining(show(first, checked)) is None
    store.thaw()
    end = time.monotonic() + 10 * SLOW
    while store.ask("EXISTS", KEY + ":late") == 0:
        assert time.monotonic() < end
    # Nothing was given back that the request still holds.
    assert store.ask("HGET", KEY, "c") == "1"
    second.write_config(REDIS_TIMEOUT="5s")
    second.reload()
    assert remaining(show(second, checked)) == "3"
    second.wait_log("refused: used before")


@pytest.mark.parametrize("body, status", [(chat(), 502), (b"{", 400),
                                          (chat("ollama:"), 400)])
@pytest.mark.parametrize("served_by", ["who charged", "another"])
def test_what_reached_no_backend_is_given_back_once(pair, body, status,
                                                    served_by):
    first, second, store = pair(VLLM_BASE_URL="http://127.0.0.1:1",
                                OLLAMA_BASE_URL="http://127.0.0.1:1")
    one, other = (first, second) if served_by == "who charged" \
        else (second, first)
    checked = authz(first, "X-Request-ID: abc").header("X-RateLimit-Checked")
    assert store.ask("HGET", KEY, "c") == "1"
    assert show(one, checked, body).status == status
    store.wait_field(KEY, "c", 0)
    assert store.ask("HGET", KEY, "e") == "0"
    assert store.ask("EXISTS", KEY + ":abc") == 1
    # Charged like any other, and given back for itself.
    assert show(other, checked).status == 502
    other.wait_log("refused: used before")
    store.wait_field(KEY, "c", 0)
    assert store.ask("HGET", KEY, "e") == "0"
    # Nor is it given back a second time.
    assert remaining(authz(first)) == "4"
    show(other, checked, b"{")
    assert remaining(authz(first)) == "3"


def test_what_is_given_back_while_the_daemon_connects(pair):
    """Kept until the connection stands, through attempts that fail."""
    first, second, store = pair()
    checked = authz(first).header("X-RateLimit-Checked")
    store.ask("CLIENT", "KILL", "TYPE", "normal")
    store.freeze()
    assert show(second, checked, b"{").status == 400
    second.wait_log(LOST)
    assert show(second, checked, b"{").status == 400
    store.thaw()
    store.wait_field(KEY, "c", 0)
    assert store.ask("HGET", KEY, "e") == "0"


def test_a_receipt_that_another_daemon_took_is_not_given_back(pair):
    first, second, store = pair()
    checked = authz(first).header("X-RateLimit-Checked")
    assert show(first, checked).status == 200
    assert show(second, checked, b"{").status == 400
    assert remaining(authz(second)) == "3"
    assert store.ask("HGET", KEY, "c") == "2"


def test_what_the_stand_in_charged_it_gives_back(pair):
    first, _, store = pair()
    store.kill()
    first.wait_log(LOST)
    checked = authz(first).header("X-RateLimit-Checked")
    assert show(first, checked, b"{").status == 400
    assert remaining(authz(first)) == "4"


def test_a_client_that_leaves_while_the_store_is_asked(pair):
    first, second, store = pair()
    checked = authz(first).header("X-RateLimit-Checked")
    store.freeze()
    with Client(first.port) as client:
        client.send(request(body=chat(), headers=[
            "X-RateLimit-Checked: " + checked]))
    # Lines of several workers come in any order.
    causes = [line["cause"] for line in first.wait_access(2)]
    assert sorted(causes) == ["client_gone", "done"]
    store.thaw()
    store.wait_field(KEY, "c", 0)
    assert remaining(show(second, checked)) == "4"
    second.wait_log("refused: used before")


def test_a_value_that_is_not_ours(pair):
    first, second, store = pair(RATE_LIMIT_INSTANCES=2)
    store.ask("SET", KEY, "hello")
    checked = receipt()
    assert remaining(show(first, checked)) is None
    # It was used; who counts is the daemon's share, as without a receipt.
    answer = show(second, checked)
    assert answer.status == 200 and remaining(answer) == "1"
    second.wait_log("is not ours")


def test_no_limit_no_question(pair):
    first, _, store = pair(tokens=[{"token": "demo-key-123", "label": "a"}])
    assert show(first, receipt()).status == 200
    assert store.calls("evalsha") == 0
