"""Redis fails, in every way it can: each request still gets one decision,
the log says so once, and everything is as before when Redis is back."""

import threading
import time

import pytest
from daemon import SLOW, eventually
from raw import Client, ask, chat, crowd, request, settle
from store import RedisError, free_port
from test_limits import limited, ok
from test_redis import KEY

LOST = r"does not decide"
BACK = r"the store decides again"
POLICIES = ("local", "open", "deny")


@pytest.fixture(params=POLICIES)
def policy(request):
    return request.param


@pytest.fixture
def counting(proxy):
    """counting(url, SETTING=value): a daemon whose token has 4 a minute, of
    which its own share is 2."""
    def make(url, handler=ok, **named):
        settings = {"REDIS_TIMEOUT": f"{500 * SLOW}ms", "WORKERS": 2,
                    "tokens": limited(rpm=4), "RATE_LIMIT_INSTANCES": 2,
                    **named}
        return proxy(handler, RATE_LIMIT_STORE="redis", REDIS_URL=url,
                     **settings)
    return make


def by_policy(daemon, policy):
    """What three requests get when Redis does not decide."""
    answers = [ask(daemon.port, body=chat()) for _ in range(3)]
    got = [answer.status for answer in answers]
    if policy == "local":
        assert got == [200, 200, 429]
        assert answers[0].header("x-ratelimit-limit-requests") == "2"
        assert answers[1].header("x-ratelimit-remaining-requests") == "0"
    elif policy == "open":
        assert got == [200] * 3
        assert answers[0].header("x-ratelimit-limit-requests") is None
    else:
        assert got == [503] * 3
        error = answers[0].error
        assert error["code"] == "limiter_unavailable"
        assert error["type"] == "server_error"
        assert answers[0].header("Retry-After") == "1"
    return got.count(200)


def by_redis(daemon, limit="4"):
    """Waits until Redis decides again; the answer that shows it."""
    end = time.monotonic() + 15 * SLOW
    while time.monotonic() < end:
        answer = ask(daemon.port, body=chat())
        if answer.header("x-ratelimit-limit-requests") == limit:
            return answer
        time.sleep(0.02)
    raise AssertionError(daemon.log)


def lines(daemon, pattern):
    return [line for line in daemon.log.splitlines() if pattern in line]


# Servers that answer with an error -------------------------------------------

def readonly(store):
    store.ask("REPLICAOF", "127.0.0.1", free_port())
    return lambda: store.ask("REPLICAOF", "NO", "ONE")


def masterdown(store):
    store.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    return readonly(store)


def noreplicas(store):
    store.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    return lambda: store.ask("CONFIG", "SET", "min-replicas-to-write", "0")


def oom(store):
    store.ask("CONFIG", "SET", "maxmemory", "1")
    return lambda: store.ask("CONFIG", "SET", "maxmemory", "0")


def maxclients(store):
    link = store.link()
    link.ask("CONFIG", "SET", "maxclients", "1")
    link.ask("CLIENT", "KILL", "TYPE", "normal")

    def undo():
        link.ask("CONFIG", "SET", "maxclients", "100")
        link.close()
    return undo


def busy(store):
    store.ask("CONFIG", "SET", "busy-reply-threshold", "1")
    link = store.link()
    link.send("EVAL", "while true do end", "0")
    while True:
        try:
            store.ask("PING")
        except RedisError as error:
            assert str(error).startswith("BUSY")
            break

    def undo():
        store.ask("SCRIPT", "KILL")
        link.close()
    return undo


@pytest.mark.parametrize("fault", [readonly, masterdown, noreplicas, oom,
                                   maxclients, busy])
def test_a_server_that_will_not(redis, counting, policy, fault):
    store = redis()
    daemon, behind = counting(store.url, RATE_LIMIT_ON_ERROR=policy)
    assert ask(daemon.port, body=chat()).status == 200
    undo = fault(store)
    if fault is maxclients:
        daemon.wait_log(LOST)
    admitted = by_policy(daemon, policy)
    daemon.wait_log(LOST)
    undo()
    answer = by_redis(daemon)
    assert answer.status == 200
    assert len(lines(daemon, LOST)) == 1
    kind = "lost" if fault is maxclients else fault.__name__
    assert f"; {kind}: " in lines(daemon, LOST)[0]
    daemon.wait_log(BACK)
    assert len(lines(daemon, BACK)) == 1
    assert len(behind.requests) >= 2 + admitted


def test_no_slot_of_a_cluster(redis, counting, policy):
    store = redis(cluster_enabled="yes", cluster_port=free_port())
    daemon, _ = counting(store.url, RATE_LIMIT_ON_ERROR=policy)
    by_policy(daemon, policy)
    assert "; clusterdown: " in lines(daemon, LOST)[0]
    store.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    assert by_redis(daemon).status == 200


@pytest.mark.parametrize("error, kind", [
    ("LOADING Redis is loading the dataset in memory", "loading"),
    ("MOVED 3999 127.0.0.1:6381", "cluster"),
    ("ASK 3999 127.0.0.1:6381", "cluster"),
    ("TRYAGAIN Multiple keys request during rehashing of slot", "tryagain"),
    ("ERR something else", "error"),
    ("ERR Error running script (call to f_1): @user_script:15: "
     "@user_script: 15: -OOM command not allowed", "oom"),
])
def test_errors_of_other_servers(fake_redis, counting, policy, error, kind):
    store = fake_redis(lambda words: f"-{error}\r\n".encode()
                       if words[0].startswith("EVAL") else None)
    daemon, _ = counting(store.url, RATE_LIMIT_ON_ERROR=policy)
    by_policy(daemon, policy)
    told = lines(daemon, LOST)
    assert len(told) == 1 and f"; {kind}: " in told[0]
    # The connections are kept, one a worker, of which one may be late.
    eventually(lambda: store.connections == 2)


# R15
@pytest.mark.parametrize("reply", [
    b"+OK\r\n", b":1\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n",
    b"*7\r\n" + b":1\r\n" * 7, b"*9\r\n" + b":1\r\n" * 9,
    b"*8\r\n" + b":1\r\n" * 7 + b"$1\r\n1\r\n",
    b"*8\r\n:1\r\n:0\r\n:5\r\n:60000\r\n:-1\r\n:1\r\n:1\r\n:1\r\n",
    b"*8\r\n:1\r\n:0\r\n:3\r\n:60001\r\n:-1\r\n:1\r\n:1\r\n:1\r\n",
    b"*8\r\n:1\r\n:0\r\n:3\r\n:-1\r\n:-1\r\n:1\r\n:1\r\n:1\r\n",
    b"*8\r\n:2\r\n:0\r\n:3\r\n:1\r\n:-1\r\n:1\r\n:1\r\n:1\r\n",
    b"*8\r\n:0\r\n:0\r\n:3\r\n:1\r\n:-1\r\n:1\r\n:1\r\n:1\r\n",
    b"hello\r\n", b"\0\xff\r\n", b"", b"*999999999999\r\n",
    b"$99999999999999999999\r\n",
])
def test_replies_out_of_shape(fake_redis, counting, reply):
    lying = [True]
    store = fake_redis(lambda words: reply
                       if lying[0] and words[0].startswith("EVAL") else None)
    daemon, _ = counting(store.url, WORKERS=1, REDIS_TIMEOUT="5s")
    begin = time.monotonic()
    by_policy(daemon, "local")
    assert time.monotonic() - begin < 4 * SLOW, "waited for the deadline"
    told = lines(daemon, LOST)
    assert len(told) == 1
    assert "; bad_reply: " in told[0] or "; lost: " in told[0]
    lying[0] = False
    assert by_redis(daemon).status == 200
    assert store.connections >= 2


@pytest.mark.parametrize("extra", [
    b"+OK\r\n", b"-ERR but why\r\n", b":1\r\n", b"$-1\r\n",
    b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
])
def test_replies_that_nobody_asked_for(fake_redis, counting, extra):
    """hiredis by itself would end the process."""
    lying = [True]
    store = fake_redis(lambda words: store.usual(words) + extra
                       if lying[0] and words[0].startswith("EVAL") else None)
    daemon, _ = counting(store.url, WORKERS=1)
    assert ask(daemon.port, body=chat()).status == 200
    daemon.wait_log(LOST)
    assert "; bad_reply: " in lines(daemon, LOST)[0]
    lying[0] = False
    assert by_redis(daemon).status == 200


# Servers that do not answer --------------------------------------------------

def test_down_at_the_start(redis, counting, policy):
    store = redis()
    store.kill()
    daemon, _ = counting(store.url, RATE_LIMIT_ON_ERROR=policy, WORKERS=4)
    daemon.wait_log(LOST)
    by_policy(daemon, policy)
    assert "; unreachable: Connection refused" in lines(daemon, LOST)[0]
    store.start()
    assert by_redis(daemon).status == 200
    assert len(lines(daemon, LOST)) == 1


def test_a_name_without_address(counting, policy):
    daemon, _ = counting("redis://no-such-host.invalid",
                         RATE_LIMIT_ON_ERROR=policy)
    by_policy(daemon, policy)
    assert "; unreachable: no-such-host.invalid: " in daemon.log
    assert len(lines(daemon, LOST)) == 1


def test_it_dies_with_requests_on_their_way(redis, counting, policy):
    """They are decided at once, not after the deadline."""
    store = redis()
    daemon, behind = counting(store.url, REDIS_TIMEOUT="60s",
                              RATE_LIMIT_ON_ERROR=policy,
                              tokens=limited(rpm=40),
                              RATE_LIMIT_INSTANCES=4)
    assert ask(daemon.port, body=chat()).status == 200
    store.freeze()
    got = crowd(daemon.port, 20, store.kill)
    want = {"local": {200: 10, 429: 10}, "open": {200: 20},
            "deny": {503: 20}}[policy]
    assert {status: got.count(status) for status in got} == want
    assert len(behind.requests) == 1 + got.count(200)
    assert len(lines(daemon, LOST)) == 1
    store.start()
    end = time.monotonic() + 15 * SLOW
    while ask(daemon.port, body=chat()).header(
            "x-ratelimit-limit-requests") != "40":
        assert time.monotonic() < end, daemon.log
    daemon.wait_log(BACK)
    assert len(daemon.wait_access(22)) >= 22


def test_it_hangs(redis, counting, policy):
    store = redis()
    daemon, _ = counting(store.url, RATE_LIMIT_ON_ERROR=policy, WORKERS=1,
                         REDIS_TIMEOUT="300ms")
    assert ask(daemon.port, body=chat()).status == 200
    store.freeze()
    with Client(daemon.port) as client:
        times, got = [], []
        for _ in range(8):
            begin = time.monotonic()
            got.append(client.ask(body=chat()).status)
            times.append(time.monotonic() - begin)
    # Three wait for the deadline, then nobody does.
    assert min(times[:3]) >= 0.29
    assert max(times[:3]) < 0.3 + 0.5 * SLOW
    assert max(times[3:]) < 0.29
    assert got == {"local": [200] * 2 + [429] * 6, "open": [200] * 8,
                   "deny": [503] * 8}[policy]
    assert "; timeout: " in lines(daemon, LOST)[0]
    store.thaw()
    answer = by_redis(daemon)
    # Three grants that came too late were given back.
    assert answer.status == 200
    assert answer.header("x-ratelimit-remaining-requests") == "2"
    daemon.wait_log(BACK)
    assert len(lines(daemon, LOST)) == 1


def test_a_slow_one_decides(redis, counting):
    store = redis()
    daemon, _ = counting(store.url, tokens=limited(rpm=40))
    for left in range(39, 29, -1):
        store.ask("CLIENT", "PAUSE", "20", "ALL")
        answer = ask(daemon.port, body=chat())
        assert answer.status == 200
        assert answer.header("x-ratelimit-remaining-requests") == str(left)
    assert LOST not in daemon.log


def test_a_crowd_that_waits_is_bounded(redis, counting):
    """Calls without an answer are counted; beyond 10,000 nobody waits."""
    store = redis()
    daemon, _ = counting(store.url, WORKERS=1, REDIS_TIMEOUT="100s",
                         tokens=limited(rpm=100_000), MAX_CONNECTIONS=20_000,
                         RATE_LIMIT_ON_ERROR="deny")
    assert ask(daemon.port, body=chat()).status == 200
    store.freeze()
    piece = request(body=chat())
    left = 10_000
    while left > 0:
        # Clients that leave do not free what Redis still owes.
        crowd = [Client(daemon.port) for _ in range(min(left, 400))]
        for client in crowd:
            client.send(piece)
        left -= len(crowd)
        for client in crowd:
            client.close()
    daemon.wait_access(10_001, seconds=60)
    answer = ask(daemon.port, body=chat())
    assert answer.status == 503
    assert "; overload: " in lines(daemon, LOST)[0]
    store.thaw()
    end = time.monotonic() + 15 * SLOW
    while ask(daemon.port, body=chat()).status != 200:
        assert time.monotonic() < end, daemon.log
    store.wait_field(KEY, "c", 2)


# Servers that forget ---------------------------------------------------------

def test_a_lost_script_is_not_noticed(redis, counting):
    store = redis()
    daemon, _ = counting(store.url, WORKERS=1)
    assert ask(daemon.port, body=chat()).status == 200
    assert store.calls("eval") == 0
    store.ask("SCRIPT", "FLUSH")
    for left in (2, 1, 0):
        answer = ask(daemon.port, body=chat())
        assert answer.status == 200
        assert answer.header("x-ratelimit-remaining-requests") == str(left)
    assert store.calls("eval") == 1
    assert store.calls("evalsha") == 4
    assert LOST not in daemon.log


def test_counters_begin_anew_after_flushall(redis, counting):
    store = redis()
    daemon, _ = counting(store.url)
    got = [ask(daemon.port, body=chat()).status for _ in range(4)]
    store.ask("FLUSHALL")
    got += [ask(daemon.port, body=chat()).status for _ in range(5)]
    assert got == [200] * 8 + [429]
    assert LOST not in daemon.log


def test_a_restart_in_between(redis, counting):
    store = redis()
    daemon, _ = counting(store.url)
    assert ask(daemon.port, body=chat()).status == 200
    store.kill()
    store.start()
    assert by_redis(daemon).status == 200


# Another application's value, and logins -------------------------------------

def test_another_value_under_our_name(redis, counting, policy):
    store = redis()
    tokens = limited(rpm=4) + [{"token": "second-key-9", "label": "bob",
                                "rpm": 4}]
    daemon, _ = counting(store.url, tokens=tokens, RATE_LIMIT_ON_ERROR=policy)
    store.ask("SET", KEY, "hello")
    by_policy(daemon, policy)
    other = ask(daemon.port, body=chat(), token="second-key-9")
    assert other.status == 200
    assert other.header("x-ratelimit-limit-requests") == "4"
    told = lines(daemon, "wrongtype")
    assert told and len(told) <= 2  # one a worker
    assert " error: " in told[0] and KEY in told[0]
    assert LOST not in daemon.log
    assert store.ask("GET", KEY) == "hello"
    store.ask("DEL", KEY)
    assert by_redis(daemon).status == 200


@pytest.mark.parametrize("url, kind", [
    ("redis://127.0.0.1:{port}", "noauth"),
    ("redis://:wrong-pw@127.0.0.1:{port}", "wrongpass"),
    ("redis://:right-pw@127.0.0.1:{port}/99", "wrong_db"),
])
def test_a_login_that_fails(redis, counting, policy, url, kind):
    store = redis(requirepass="right-pw")
    daemon, _ = counting(url.format(port=store.port),
                         RATE_LIMIT_ON_ERROR=policy)
    daemon.wait_log(LOST)
    by_policy(daemon, policy)
    told = lines(daemon, LOST)
    assert len(told) == 1
    assert " error: " in told[0] and f"; {kind}: " in told[0]
    assert "-pw" not in daemon.log
    daemon.write_config(REDIS_URL=f"redis://:right-pw@127.0.0.1:{store.port}")
    daemon.reload()
    assert by_redis(daemon).status == 200


def test_nobody_knocks_in_vain(fake_redis, counting):
    """After a refused login it takes five seconds to the next one; after a
    refused connection a tenth of one."""
    refused = fake_redis(lambda words: b"-WRONGPASS invalid password\r\n"
                         if words[0] == "AUTH" else None)
    closed = fake_redis(lambda words: b"")
    one, _ = counting(f"redis://:pw@127.0.0.1:{refused.port}")
    two, _ = counting(closed.url)
    end = time.monotonic() + 15 * SLOW
    while closed.connections < 2 * 4:
        assert time.monotonic() < end
        time.sleep(0.01)
    eventually(lambda: refused.connections == 2)
    assert "; wrongpass: " in one.log and "; lost: " in two.log


def test_failures_that_come_and_go_do_not_fill_the_log(redis, counting):
    store = redis()
    daemon, _ = counting(store.url, tokens=limited(rpm=4000), WORKERS=4,
                         RATE_LIMIT_ON_ERROR="open")
    for _ in range(5):
        undo = noreplicas(store)
        for _ in range(20):
            assert ask(daemon.port, body=chat()).status == 200
        undo()
        for _ in range(20):
            assert ask(daemon.port, body=chat()).status == 200
    assert len(lines(daemon, LOST)) == 1
    assert len(lines(daemon, BACK)) == 1


def test_a_unit_of_the_stand_in_goes_back_there(redis, daemon):
    store = redis()
    store.kill()
    one = daemon(RATE_LIMIT_STORE="redis", REDIS_URL=store.url,
                 tokens=limited(rpm=2))
    one.wait_log(LOST)
    for _ in range(5):
        answer = ask(one.port, body=chat())
        assert answer.status == 502
        assert answer.header("x-ratelimit-remaining-requests") == "2"


def held_at(gate):
    def handler(got, peer):
        gate.wait(20)
        ok(got, peer)
    return handler


def test_a_unit_goes_back_to_a_server_that_was_away(redis, counting):
    """Its stamp says of which windows it is, however late it comes."""
    store = redis(appendonly="yes")
    gate = threading.Event()
    daemon, behind = counting(store.url, held_at(gate), WORKERS=1,
                              BACKEND_MAX_INFLIGHT=1)
    with Client(daemon.port) as served, Client(daemon.port) as queued:
        served.send(request(body=chat()))
        behind.wait_requests(1)
        queued.send(request(body=chat()))
        store.wait_field(KEY, "c", 2)
        settle(daemon.port)
        store.kill()
        daemon.wait_log(LOST)
        queued.close()
        daemon.wait_access(1)
        store.start()
        store.wait_field(KEY, "c", 1)
        gate.set()
        assert served.answer().status == 200
    # What reached the backend is not given back.
    assert by_redis(daemon).header("x-ratelimit-remaining-requests") == "2"


def test_several_units_go_back_where_nobody_reads(redis, counting):
    """The first write is answered by a reset, the second one finds it: what
    those two carried stays spent."""
    store = redis(appendonly="yes")
    gate = threading.Event()
    daemon, behind = counting(store.url, held_at(gate), WORKERS=1, QUEUE_SIZE=10,
                              BACKEND_MAX_INFLIGHT=1,
                              tokens=limited(rpm=100))
    with Client(daemon.port) as served:
        served.send(request(body=chat()))
        behind.wait_requests(1)
        queued = [Client(daemon.port) for _ in range(6)]
        for client in queued:
            client.send(request(body=chat()))
        store.wait_field(KEY, "c", 7)
        settle(daemon.port)
        # In one turn of the loop it learns of all, of the server last.
        daemon.freeze()
        for client in queued:
            client.close()
        store.kill()
        daemon.thaw()
        daemon.wait_access(6)
        store.start()
        store.wait_field(KEY, "c", 3)
        gate.set()
        assert served.answer().status == 200
    assert by_redis(daemon, "100").status == 200
