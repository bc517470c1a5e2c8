"""What clients cost that are there and ask nothing."""

import contextlib
import resource
import socket
import time
from pathlib import Path

from measuring import check, demand_core, summary
from parties import CROWDED, DAEMON, Failed, rss_anon_kib
from rows import CROWD_BUDGET, IDLE_BUDGET

FEW, MANY, MOST = 10, 1000, 9000
WATCHED_S = 5
QUESTION = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def most_clients():
    """Of this process, which holds one end of each."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files < MOST + 200:
        raise Failed(f"{MOST} clients need more than {files} descriptors "
                     "(ulimit -Hn)")
    return MOST


@contextlib.contextmanager
def open_clients(port, count):
    """So many, each of which was answered once."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(
                socket.create_connection(("127.0.0.1", port), 10))
            sock.sendall(QUESTION)
            if not sock.recv(4096).startswith(b"HTTP/1.1 200"):
                raise Failed("an open client got no answer")
        yield


def cpu_ns(pid):
    """Of all its threads."""
    return sum(int(path.read_text(encoding="ascii").split()[0])
               for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def measure_crowd(bench, row):
    """FEW ask, beside those who do not."""
    crowds = (FEW, MANY, most_clients())
    counted = {crowd: [] for crowd in crowds}
    with bench.party(CROWDED) as party:
        check(row, party)
        for _ in range(bench.rounds):
            for crowd in crowds:
                with open_clients(party.port, crowd - FEW):
                    counted[crowd].append(
                        bench.load(row, party, int(bench.seconds * 1000), FEW))
    demand_core(counted)
    cost = {crowd: [sample["cpu_ns"] / sample["answers"] for sample in samples]
            for crowd, samples in counted.items()}
    return {"budget": CROWD_BUDGET, "parties": {DAEMON: {"over": [
        summary([value / few - 1 for value, few in zip(cost[crowd], cost[FEW])])
        for crowd in crowds[1:]]}}}


def measure_idle(bench, _row):
    with bench.party(CROWDED) as party, \
            open_clients(party.port, most_clients()):
        time.sleep(1)
        grown = rss_anon_kib(party.pid) - party.start_kib
        before = cpu_ns(party.pid)
        time.sleep(WATCHED_S)
        used = cpu_ns(party.pid) - before
    return {"budget": IDLE_BUDGET, "parties": {DAEMON: {
        "per_client": grown / most_clients(),
        "busy": used / (WATCHED_S * 1e9)}}}
