"""What the system may refuse: threads, ports, addresses."""

import ctypes
import json
import os
import pathlib
import resource

import pytest
from daemon import DAEMON, TOKEN, as_one_of_many, run_daemon
from raw import ask, chat

TOKENS = json.dumps([{"token": TOKEN, "label": "demo"}])
MANY = [{"role": "user", "content": f"word {i}"} for i in range(4000)]
ROOT = os.geteuid() == 0
LOW_PORTS = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def limit_threads(count):
    resource.setrlimit(resource.RLIMIT_NPROC, (
        count, resource.getrlimit(resource.RLIMIT_NPROC)[1]))


def one_worker_no_helper():
    as_one_of_many()
    if ROOT:
        limit_threads(3 if "/tsan/" in DAEMON else 2)


@pytest.mark.bare
def test_without_a_helper_a_worker_does_the_work(proxy):
    daemon, backend = proxy(
        lambda _, peer: peer.whole({
            "model": "m", "created_at": "2026-09-01T08:31:00Z", "done": True,
            "message": {"role": "assistant", "content": "x"}}),
        WORKERS=1, preexec=one_worker_no_helper,
        env={"ASAN_OPTIONS": "detect_leaks=0"})  # that takes a process
    if not ROOT:
        resource.prlimit(daemon.pid, resource.RLIMIT_NPROC, (0, 0))
    before = len(daemon.threads())
    dense = {"model": "ollama:m", "messages": MANY}
    for _ in range(3):
        answer = ask(daemon.port, body=dense)
        assert answer.status == 200, answer.body
        assert backend.requests[-1].json["messages"] == MANY
    assert ask(daemon.port, body={**dense, "n": 2}).error["param"] == "n"
    assert ask(daemon.port, body=chat("ollama:m")).status == 200
    assert len(daemon.threads()) == before
    assert daemon.log.count("helper: cannot start a thread: ") == 1


@pytest.mark.bare
def test_a_start_without_threads_says_so():
    def preexec():
        as_one_of_many()
        limit_threads(0)

    code, _, log = run_daemon(preexec=preexec, env={
        "LISTEN": "127.0.0.1:0", "TOKENS_JSON": TOKENS, "WORKERS": "3",
        "ASAN_OPTIONS": "detect_leaks=0"})  # they take a process
    assert code == 71
    assert "WORKERS=3: worker 1: cannot start a thread: " in log


def start(listen, preexec):
    return run_daemon(preexec=preexec, env={
        "LISTEN": listen, "TOKENS_JSON": TOKENS, "WORKERS": "1"})


@pytest.mark.bare
def test_a_low_port_takes_a_right():
    def preexec():
        new_network = 0x40000000  # where every low port is free and guarded
        ctypes.CDLL(None).unshare(new_network)
        as_one_of_many()

    code, _, log = start("0.0.0.0:1", preexec)
    assert code == 77, LOW_PORTS.read_text()
    assert "cannot listen on 0.0.0.0:1: bind: Permission denied" in log
    assert "CAP_NET_BIND_SERVICE" in log


def test_a_folder_that_is_not_ours(tmp_path):
    def preexec():
        drop_from_bounding_set, dac_override = 24, 1
        ctypes.CDLL(None).prctl(drop_from_bounding_set, dac_override, 0, 0, 0)

    (tmp_path / "theirs").mkdir(mode=0o555)
    code, _, log = start(f"unix:{tmp_path}/theirs/socket", preexec)
    assert code == 77
    assert "bind: Permission denied" in log
    assert "CAP_NET_BIND_SERVICE" not in log
