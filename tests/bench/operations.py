"""What an operator waits for: the start, and a reload of many tokens."""

import contextlib
import os
import socket
import statistics
import subprocess
import threading
import time

from parties import (DAEMON, DAEMON_CONF, RELOADED, SEARCH, Failed,
                     free_port, stop)

START_BUDGET_US = 20_000
RELOAD_BUDGET_US = (100_000, 5000)  # the whole, a worker's longest turn
TIMES = 20

QUESTION = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def first_answer(port, child):
    """Asks until there is one."""
    while child.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                sock.sendall(QUESTION)
                if sock.recv(4096).startswith(b"HTTP/1.1 200"):
                    return
        except ConnectionRefusedError:
            time.sleep(0.0002)
    raise Failed(f"{DAEMON} ended at once")


def measure_start(bench, _row):
    """From before the fork to the first answer, seen from another process."""
    took = []
    for _ in range(TIMES):
        port = free_port()
        config = bench.write_config("start", DAEMON_CONF, port)
        # Inherited: with a preexec_fn the fork of this program is measured.
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {bench.cores[0]})
        began = time.monotonic()
        child = subprocess.Popen([bench.daemon, "-c", config],
                                 stdin=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL,
                                 env={"PATH": SEARCH})
        os.sched_setaffinity(0, before)
        try:
            first_answer(port, child)
            took.append((time.monotonic() - began) * 1e6)
        finally:
            stop(child)
    return {"unit": "us", "budget": START_BUDGET_US, "parties": {
        DAEMON: {"median": statistics.median(took), "max": max(took),
                 "values": took}}}


def load_until_gone(bench, row, party):
    with contextlib.suppress(Failed):
        bench.load(row, party, 60_000, 2)


def reload_once(bench, generation):
    """As whoever types it sees it, in us."""
    bench.write_tokens(generation)
    began = time.monotonic()
    done = subprocess.run(
        [bench.daemon.with_name("llm-proxyctl"), "-c",
         bench.folder / f"{RELOADED}.conf", "reload"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env={"PATH": SEARCH}, timeout=30, check=False)
    if done.returncode != 0:
        raise Failed(f"llm-proxyctl reload: {done.stderr.strip()}")
    return (time.monotonic() - began) * 1e6


def measure_reload(bench, row):
    """First with nobody there, for how long it takes; then beside clients
    that leave the core no rest, for how long one of them may wait."""
    bench.write_tokens(0)
    with bench.party(RELOADED) as party:
        took = [reload_once(bench, i + 1) for i in range(TIMES)]
        load = threading.Thread(target=load_until_gone, args=(bench, row, party))
        load.start()
        for i in range(TIMES):
            reload_once(bench, TIMES + i)
        if not load.is_alive():
            raise Failed("the load ended before the reloads did")
    load.join(60)
    return {"unit": "us", "budget": RELOAD_BUDGET_US, "parties": {
        DAEMON: {"median": statistics.median(took), "max": max(took),
                 "values": took, "turn": bench.longest_turn(RELOADED)}}}
