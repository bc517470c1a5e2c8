"""N means N over processes: several daemons with several workers on one
Redis, under many client processes, with a daemon that dies in the middle,
and through refunds."""

import json
import pathlib
import re
import subprocess
import sys
import time

import pytest
from daemon import SLOW, clean_environment
from raw import ask, chat
from test_limits import limited, ok
from test_redis import KEY

CLIENTS = 8
FLOOD = pathlib.Path(__file__).resolve().parents[1] / "harness/flood.py"


class Flood:
    """CLIENTS processes that each send `count` requests, evenly to the
    daemons."""

    def __init__(self, daemons, count):
        ports = [str(daemon.port) for daemon in daemons]
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(FLOOD), str(count),
                 *ports[i % len(ports):], *ports[:i % len(ports)]],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=clean_environment())
            for i in range(CLIENTS)]
        for process in self.processes:
            assert process.stdout.readline() == "ready\n"
        for process in self.processes:
            process.stdin.write("go\n")
            process.stdin.flush()

    def end(self):
        """How often each status came."""
        total = {}
        for process in self.processes:
            out, _ = process.communicate(timeout=120 * SLOW)
            for status, count in json.loads(out).items():
                total[status] = total.get(status, 0) + count
        return total


@pytest.fixture
def fleet(redis, daemon, backend):
    """fleet(count, SETTING=value): daemons on one Redis and one backend."""
    def make(count, **named):
        store, behind = redis(), backend(ok)
        settings = {"WORKERS": 2, "REDIS_TIMEOUT": "30s",
                    "RATE_LIMIT_ON_ERROR": "deny",
                    "VLLM_BASE_URL": behind.url, **named}
        daemons = [daemon(RATE_LIMIT_STORE="redis", REDIS_URL=store.url,
                          **settings) for _ in range(count)]
        return store, behind, daemons
    return make


# A day's limit, so that a slow machine meets no second window; and the
# minute's where the run is sure to be shorter.
@pytest.mark.threads
@pytest.mark.parametrize("limit", ["rpd", "rpm"])
def test_exactly_n_over_three_daemons(fleet, limit):
    count = 1000 if SLOW == 1 else 250
    store, behind, daemons = fleet(3, tokens=limited(**{limit: 700}))
    begin = time.monotonic()
    came = Flood(daemons, count).end()
    if limit == "rpm":
        assert time.monotonic() - begin < 60
    assert came == {"200": 700, "429": CLIENTS * count - 700}
    assert len(behind.requests) == 700
    assert store.ask("HGET", KEY, "c" if limit == "rpm" else "e") == "700"


@pytest.mark.threads
def test_a_daemon_dies_in_the_middle(fleet):
    count = 1000 if SLOW == 1 else 250
    _, behind, daemons = fleet(3, tokens=limited(rpd=1500))
    flood = Flood(daemons, count)
    end = time.monotonic() + 60 * SLOW
    while len(behind.requests) < 500:
        assert time.monotonic() < end
        time.sleep(0.002)
    daemons[0].process.kill()
    came = flood.end()
    assert daemons[0].process.wait() == -9
    daemons[0].process.returncode = 0  # for the fixture: as it should be
    # Each client had one request under way at most.
    assert came.get("lost", 0) <= CLIENTS
    assert 1500 - CLIENTS <= came["200"] <= 1500
    assert set(came) <= {"200", "429", "lost"}


@pytest.mark.threads
def test_a_backend_that_is_down_costs_nobody_a_unit(fleet, backend):
    """Every request of the flood is given back; then exactly N are there."""
    count = 200 if SLOW == 1 else 60
    store, _, daemons = fleet(3, tokens=limited(rpd=40),
                              OLLAMA_BASE_URL="http://127.0.0.1:1")
    good = daemons[0].settings["VLLM_BASE_URL"]
    for daemon in daemons:
        daemon.write_config(VLLM_BASE_URL="http://127.0.0.1:1")
        daemon.reload()
    came = Flood(daemons, count).end()
    assert set(came) <= {"502", "429"} and came["502"] > 40
    store.wait_field(KEY, "e", 0)
    for daemon in daemons:
        daemon.write_config(VLLM_BASE_URL=good)
        daemon.reload()
    got = [ask(daemons[i % 3].port, body=chat()).status for i in range(60)]
    assert got.count(200) == 40 and got.count(429) == 20


@pytest.mark.threads
def test_leases_deny_early_by_their_bound_at_most(fleet):
    """k = clamp(rpm / (20 * instances), 1, 32) units for each daemon."""
    count = 400 if SLOW == 1 else 120
    limit = 900
    store, behind, daemons = fleet(
        3, tokens=limited(rpm=limit if SLOW == 1 else 600, rpd=limit),
        RATE_LIMIT_LEASE=1, RATE_LIMIT_INSTANCES=3)
    before = store.calls("evalsha")
    came = Flood(daemons, count).end()
    asked = store.calls("evalsha") - before
    lease = limit // 60
    bound = min(limit, CLIENTS * count)
    if SLOW == 1:
        assert bound - 3 * lease <= came["200"] <= limit
        # It pays: calls are fewer than the units they took.
        assert asked < came["200"]
    assert came["200"] <= limit
    assert came["200"] == len(behind.requests)
    # What was not used is back: the rest of the limit can be had.
    used = came["200"]
    store.wait_field(KEY, "e", used)


@pytest.mark.threads
def test_leases_are_given_back_at_the_end(fleet):
    store, _, daemons = fleet(1, WORKERS=1, tokens=limited(rpm=1200),
                              RATE_LIMIT_LEASE=1)
    for _ in range(5):
        assert ask(daemons[0].port, body=chat()).status == 200
    assert int(store.ask("HGET", KEY, "c")) > 5
    daemons[0].stop()
    store.wait_field(KEY, "c", 5)


def test_the_numbers_of_a_lease_count_down(fleet):
    store, _, daemons = fleet(1, WORKERS=1, tokens=limited(rpm=1200),
                              RATE_LIMIT_LEASE=1)
    left = [int(ask(daemons[0].port, body=chat()).header(
        "x-ratelimit-remaining-requests")) for _ in range(10)]
    assert left == list(range(1199, 1189, -1))
    assert store.calls("evalsha") < 10
    assert re.match(r"\d+$", store.ask("HGET", KEY, "c"))
