"""R12: a replica takes over. The address of REDIS_URL leads to the new
primary, and every request gets one decision on the way there."""

import contextlib
import re
import time

import pytest
from daemon import SLOW
from raw import ask, chat, crowd, request
from store import free_port
from test_limits import limited
from test_redis import KEY
from test_redis_faults import (BACK, LOST, POLICIES, by_policy, by_redis,
                               counting, lines)

__all__ = ["counting"]  # a fixture
HOST = "store.test"


class Couple:
    """A primary and its replica, and an address that can move from one to the
    other: a name, a port, or a unix socket."""

    def __init__(self, redis, way):
        self.way = way
        port = free_port()
        named = way == "name"
        self.primary = redis(port=port, repl_diskless_sync_delay=0,
                             bind="127.0.0.2" if named else "127.0.0.1")
        self.replica = redis(
            port=port if named else free_port(),
            bind="127.0.0.3" if named else "127.0.0.1",
            replicaof=f"{'127.0.0.2' if named else '127.0.0.1'} {port}")
        self.port = port
        self.link = self.primary.folder.with_suffix(".link")
        if way == "socket":
            self.link.symlink_to(self.primary.path)
        self.url = {"name": f"redis://{HOST}:{port}",
                    "port": f"redis://127.0.0.1:{port}",
                    "socket": f"unix://{self.link}"}[way]
        wait(lambda: "master_link_status:up" in self.replica.ask(
            "INFO", "replication"))

    def synced(self):
        """The replica has what the primary has been told."""
        with contextlib.closing(self.primary.link()) as link:
            wait(lambda: link.ask("WAIT", 1, 1000) == 1)
        wait(lambda: self.replica.ask("HGETALL", KEY) == self.primary.ask(
            "HGETALL", KEY))

    def promote(self):
        self.replica.ask("REPLICAOF", "NO", "ONE")

    def move(self, daemon):
        if self.way == "name":
            daemon.set_names({HOST: "127.0.0.3"})
        elif self.way == "port":
            self.replica.ask("CONFIG", "SET", "port", self.port)
        else:
            following = self.link.with_suffix(".next")
            following.symlink_to(self.replica.path)
            following.replace(self.link)


def wait(condition):
    end = time.monotonic() + 20 * SLOW
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def couple(redis):
    made = []

    def make(way):
        made.append(Couple(redis, way))
        return made[-1]

    yield make
    for each in made:
        each.link.unlink(missing_ok=True)


@pytest.mark.parametrize("way", ["name", "port", "socket"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_replica_takes_over(couple, counting, policy, way):
    both = couple(way)
    daemon, behind = counting(both.url, names={HOST: "127.0.0.2"}, WORKERS=1,
                              REDIS_TIMEOUT="60s", RATE_LIMIT_ON_ERROR=policy)
    assert ask(daemon.port, body=chat()).status == 200
    both.synced()
    # Requests are on their way to the primary as it dies.
    both.primary.freeze()
    got = crowd(daemon.port, 10, both.primary.kill)
    assert got.count({"local": 429, "open": 200, "deny": 503}[policy]) == (
        8 if policy == "local" else 10)
    both.promote()
    both.move(daemon)
    moved = time.monotonic()
    answer = by_redis(daemon)
    assert time.monotonic() - moved < 6 * SLOW
    # What the replica knew goes on; not one unit more is there.
    assert answer.header("x-ratelimit-remaining-requests") == "2"
    assert [ask(daemon.port, body=chat()).status for _ in range(3)] == [
        200, 200, 429]
    assert both.replica.ask("HGET", KEY, "c") == "4"
    for pattern in (LOST, BACK):
        daemon.wait_log(pattern)
        assert len(lines(daemon, pattern)) == 1
    # Each that was admitted has one line and one generation.
    wait(lambda: sum(line["status"] == "200" for line in daemon.access)
         == len(behind.requests))


def test_what_was_not_replicated_is_lost_and_no_more(couple, counting):
    both = couple("name")
    daemon, behind = counting(both.url, names={HOST: "127.0.0.2"}, WORKERS=1,
                              RATE_LIMIT_ON_ERROR="deny")
    assert ask(daemon.port, body=chat()).status == 200
    both.synced()
    both.promote()
    got = [ask(daemon.port, body=chat()).status for _ in range(2)]
    assert got == [200, 200]
    both.primary.kill()
    daemon.wait_log(LOST)
    both.move(daemon)
    assert by_redis(daemon).status == 200
    got = [ask(daemon.port, body=chat()).status for _ in range(4)]
    assert got == [200, 200, 429, 429]
    # Four, and the two that only the dead one knew.
    assert len(behind.requests) == 6


@pytest.mark.parametrize("policy", POLICIES)
def test_a_primary_that_was_demoted_is_left(couple, counting, policy):
    """It keeps its connections open and refuses to write: R5."""
    both = couple("name")
    daemon, _ = counting(both.url, names={HOST: "127.0.0.2"},
                         RATE_LIMIT_ON_ERROR=policy)
    assert ask(daemon.port, body=chat()).status == 200
    both.synced()
    both.promote()
    both.primary.ask("REPLICAOF", "127.0.0.3", both.port)
    # The name has not moved yet: it is read-only, whoever connects.
    by_policy(daemon, policy)
    assert "; readonly: " in lines(daemon, LOST)[0]
    both.move(daemon)
    answer = by_redis(daemon)
    assert answer.header("x-ratelimit-remaining-requests") == "2"
    assert len(lines(daemon, LOST)) == 1
    daemon.wait_log(BACK)
    assert both.replica.ask("HGET", KEY, "c") == "2"

    # No worker stays there: each learns it by asking, and the kernel chooses
    # whose client a request is.
    def left():
        ask(daemon.port, body=chat())
        return "name=llm-proxyd" not in both.primary.ask("CLIENT", "LIST")
    wait(left)


def test_a_name_server_that_is_slow_holds_nobody_up(redis, counting):
    store = redis()
    daemon, _ = counting(f"redis://{HOST}:{store.port}", names={HOST: "..."},
                         WORKERS=1, REDIS_TIMEOUT="20ms")
    for _ in range(3):
        begin = time.monotonic()
        assert ask(daemon.port, "/healthz").status == 200
        ask(daemon.port, body=chat())
        assert time.monotonic() - begin < 0.9 * SLOW
    daemon.wait_log(LOST)
    daemon.write_config(REDIS_TIMEOUT="5s")
    daemon.reload()
    daemon.set_names({HOST: "127.0.0.1"})
    assert by_redis(daemon).status == 200


def test_the_last_address_is_better_than_none(redis, counting):
    """A server that restarts where it was is found without its name; and
    nobody waits for the name server at the end."""
    store = redis()
    daemon, _ = counting(f"redis://{HOST}:{store.port}",
                         names={HOST: "127.0.0.1"}, WORKERS=1)
    assert ask(daemon.port, body=chat()).status == 200
    daemon.set_names({HOST: "..."})
    store.kill()
    daemon.wait_log(LOST)
    store.start()
    assert by_redis(daemon).status == 200
    # The name has still not been said.
    begin = time.monotonic()
    daemon.stop()
    assert time.monotonic() - begin < 5 * SLOW


def test_a_name_that_is_gone_keeps_its_address(redis, counting):
    store = redis()
    host = "no-such-host.invalid"
    daemon, _ = counting(f"redis://{host}:{store.port}",
                         names={host: "127.0.0.1"}, WORKERS=1)
    assert ask(daemon.port, body=chat()).status == 200
    daemon.set_names({})
    store.kill()
    daemon.wait_log(LOST)
    store.start()
    assert by_redis(daemon).status == 200
    assert not re.search("Name or service", daemon.log)
