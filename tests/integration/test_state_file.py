"""STATE_FILE: what a token has used of the day outlives the process."""

import os
import signal
import stat
import time

import pytest
from daemon import SLOW
from raw import ask, chat

TOKENS = [{"token": "demo-key-123", "label": "alice", "rpd": 10}]


def ok(_request, peer):
    peer.whole({"ok": 1})


@pytest.fixture
def restartable(daemon, backend, tmp_path):
    """start() makes a daemon that shares the state file with the others."""
    state = tmp_path / "state"
    behind = backend(ok)

    def start(**named):
        return daemon(VLLM_BASE_URL=behind.url, tokens=TOKENS,
                      STATE_FILE=state, **named)

    return start, state


def left(daemon):
    answer = ask(daemon.port, body=chat())
    assert answer.status == 200
    return int(answer.header("X-RateLimit-Remaining-Requests-Day"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_restart_goes_on_counting(restartable, number):
    start, state = restartable
    first = start()
    assert [left(first) for _ in range(3)] == [9, 8, 7]
    first.signal(number)
    assert first.wait_exit() == 0
    assert stat.S_IMODE(os.stat(state).st_mode) == 0o600
    assert b"demo-key" not in state.read_bytes()
    assert not state.with_name("state.new").exists()
    second = start()
    assert left(second) == 6
    assert "STATE_FILE" not in second.log


def test_it_is_written_while_serving(restartable):
    start, state = restartable
    first = start(STATE_INTERVAL="100ms")
    assert left(first) == 9
    end = time.monotonic() + 10 * SLOW
    while not state.exists() or b" 1\n" not in state.read_bytes():
        assert time.monotonic() < end
        time.sleep(0.01)
    first.process.kill()
    first.wait_exit()
    first.process.returncode = 0  # as wanted
    assert left(start()) == 8


def test_a_new_day_begins_at_nothing(restartable):
    start, _ = restartable
    first = start()
    assert left(first) == 9
    first.signal(signal.SIGTERM)
    assert first.wait_exit() == 0
    second = start()
    second.advance(24 * 3600 * 1000)
    assert left(second) == 9


@pytest.mark.parametrize("damage", [
    lambda text: b"", lambda text: text[:-10], lambda text: b"\0" * 4096,
    lambda text: text.replace(b" 1\n", b" 0\n"), lambda text: text + text])
def test_a_damaged_file_is_set_aside(restartable, damage):
    start, state = restartable
    first = start()
    assert left(first) == 9
    first.signal(signal.SIGTERM)
    first.wait_exit()
    damaged = damage(state.read_bytes())
    state.write_bytes(damaged)
    second = start()
    second.wait_log(r"error: STATE_FILE: \S+/state: line \d+: .*; set aside "
                    r"as \S+/state.damaged, the day's counters begin at 0")
    assert state.with_name("state.damaged").read_bytes() == damaged
    assert left(second) == 9


def test_a_file_that_cannot_be_read_stops_the_start(restartable):
    start, state = restartable
    state.mkdir()
    with pytest.raises(AssertionError, match="STATE_FILE: .*Is a directory"):
        start()


def test_a_full_disk_stops_nobody(restartable, tmp_path):
    start, state = restartable
    first = start(STATE_INTERVAL="100ms")
    # Its folder is gone: the same failure as a disk that takes nothing.
    state.with_name("state.new").mkdir()
    first.wait_log("error: STATE_FILE: ")
    assert left(first) == 9
    state.with_name("state.new").rmdir()
    first.signal(signal.SIGTERM)
    assert first.wait_exit() == 0
    assert left(start()) == 8


def test_a_reload_moves_the_file(restartable, tmp_path):
    start, state = restartable
    first = start()
    assert left(first) == 9
    moved = tmp_path / "moved"
    first.write_config(STATE_FILE=moved)
    first.reload()
    first.signal(signal.SIGTERM)
    assert first.wait_exit() == 0
    assert moved.exists() and not state.exists()
