"""How the rows are measured, but for those of crowd.py and operations.py."""

import concurrent.futures
import contextlib
import json
import socket
import statistics
import subprocess
from http.client import HTTPException, HTTPResponse

from parties import (ASKING, DAEMON, DIRECT, INTERVAL_MS, METERED, NGINX,
                     SHARED, Disturbed, Failed, spawn)
from rows import (DECISION_BUDGET_US, LATENCY_BUDGET_US, MEMORY_BUDGET_KIB,
                  MIXED, REDIS_BUDGET_US, REDIS_CLIENTS, SPREAD_BUDGET,
                  TURN_BUDGET_US)

# A row counts as disturbed when nginx's own rounds differ by more than this,
# or when the proxies waited for their core for more than this share of the
# time that they ran on it: another program was there.
MAX_SPREAD = 0.25
MAX_WAIT = 0.15


def check(row, party):
    asked, is_right = row.asked[party.name]
    if is_right is None:
        return
    try:
        with socket.create_connection(("127.0.0.1", party.port), 10) as sock:
            sock.sendall(asked)
            answer = HTTPResponse(sock)
            answer.begin()
            body = answer.read()
            right = answer.status == 200 and is_right(body)
    except (OSError, HTTPException, ValueError, LookupError) as problem:
        raise Failed(f"{party.name}: {problem!r}") from problem
    if not right:
        raise Failed(f"{party.name} answers {answer.status}: {body[:200]!r}")


# Measuring

def summary(values):
    return {"median": statistics.median(values), "min": min(values),
            "max": max(values), "values": values}


def interleave(bench, row, connections, window_ms, *more):
    """All rounds of a row: {name: [what bench_load counted, ...]}"""
    counted = {name: [] for name in row.asked}
    with contextlib.ExitStack() as stack:
        parties = [stack.enter_context(bench.party(name))
                   for name in row.asked]
        for party in parties:
            check(row, party)
        for _ in range(bench.rounds):
            for party in parties:
                counted[party.name].append(
                    bench.load(row, party, window_ms, connections, *more))
    return counted


def demand_core(counted):
    waits = [sample["wait_ns"] / sample["cpu_ns"]
             for samples in counted.values() for sample in samples]
    wait = statistics.median(waits)
    if wait > MAX_WAIT:
        raise Disturbed("for each second on its core a proxy waited "
                        f"{wait:.1f} s for another program")


def demand_quiet(counted, nginx, most=MAX_SPREAD):
    """`nginx` are its values, one a round."""
    demand_core(counted)
    spread = (max(nginx) - min(nginx)) / statistics.median(nginx)
    if spread > most:
        raise Disturbed(f"nginx's rounds differ by {spread:.0%}")


def demand_all_pieces(bench, name, sample):
    due = bench.streams * sample["window_ns"] / 1e6 / INTERVAL_MS
    if sample["events"] < 0.95 * due:
        raise Disturbed(f"{name}: {sample['events']} of {due:.0f} pieces "
                        "came in time")


def measure_cost(bench, row):
    connections = bench.streams if row.paced else row.connections
    counted = interleave(bench, row, connections, int(bench.seconds * 1000))
    for name, samples in counted.items():
        for sample in samples:
            if sample[row.per] == 0:
                raise Failed(f"{name}: no answer within a window")
            if row.paced:
                demand_all_pieces(bench, name, sample)
    cost = {name: [sample["cpu_ns"] / sample[row.per] / 1000
                   for sample in samples]
            for name, samples in counted.items()}
    demand_quiet(counted, cost[NGINX])
    result = {"unit": "us", "parties": {}}
    for name, values in cost.items():
        party = summary(values)
        party["ratio"] = summary(
            [value / base for value, base in zip(values, cost[NGINX])])
        party["busy"] = statistics.median(
            sample["cpu_ns"] / sample["window_ns"]
            for sample in counted[name])
        result["parties"][name] = party
    return result


def measure_latency(bench, row):
    counted = interleave(bench, row, 1, int(bench.seconds * 1000 / 2))
    direct = counted.pop(DIRECT)
    result = {"unit": "us", "budget": LATENCY_BUDGET_US, "parties": {}}
    for name, samples in counted.items():
        result["parties"][name] = {
            key: summary([(sample[key + "_ns"] - base[key + "_ns"]) / 1000
                          for sample, base in zip(samples, direct)])
            for key in ("p50", "p99")}
    # Wake-ups across cores vary more than work does.
    demand_quiet(counted, result["parties"][NGINX]["p50"]["values"],
                 2 * MAX_SPREAD)
    return result


def measure_memory(bench, row):
    """Fresh processes: what earlier rows left in the heap does not count."""
    result = {"unit": "KiB", "budget": MEMORY_BUDGET_KIB,
              "streams": bench.streams, "parties": {}}
    for name in row.asked:
        with bench.party(name) as party:
            sample = bench.load(row, party, 1000, bench.streams)
            demand_all_pieces(bench, name, sample)
            result["parties"][name] = {
                "start": party.start_kib,
                "per_stream": (sample["rss_anon_kib"] - party.start_kib)
                / bench.streams}
    return result


def measure_turns(bench, row):
    with bench.party(METERED) as party:
        check(row, party)
        bench.load(row, party, int(bench.seconds * 2000), 2)
    return {"unit": "us", "budget": TURN_BUDGET_US,
            "parties": {DAEMON: {"turn": bench.longest_turn(METERED)}}}


def measure_mixed(bench, row):
    """All of MIXED at once."""
    with bench.party(METERED) as party, \
            concurrent.futures.ThreadPoolExecutor(len(MIXED)) as pool:
        loads = [(part, pool.submit(bench.load, part, party,
                                    int(bench.seconds * 4000),
                                    bench.streams if part.paced else 2))
                 for part in MIXED]
        for part, load in loads:
            if part.paced:
                demand_all_pieces(bench, METERED, load.result())
            elif load.result()["answers"] == 0:
                raise Failed(f"{part.name}: no answer within a window")
    return {"unit": "us", "budget": TURN_BUDGET_US, "parties": {DAEMON: {
        "turn": bench.longest_turn(METERED),
        "round": bench.longest_turn(METERED, "round")}}}


def measure_spread(bench, row):
    """What others cost over the first."""
    counted = interleave(bench, row, row.connections,
                         int(bench.seconds * 1000))
    demand_core(counted)
    cost = {name: [sample["cpu_ns"] / sample["answers"] for sample in samples]
            for name, samples in counted.items()}
    first = next(iter(row.asked))
    return {"budget": SPREAD_BUDGET, "parties": {DAEMON: {"over": [
        summary([value / base - 1
                 for value, base in zip(values, cost[first])])
        for name, values in cost.items() if name != first]}}}


def run_tool(bench, name):
    """What one of our own programs has measured, on the core of proxies."""
    child = spawn([bench.tool(name)], bench.cores[0], stdout=subprocess.PIPE,
                  text=True)
    out, _ = child.communicate(timeout=60)
    if child.returncode != 0:
        raise Failed(f"{name} failed")
    return json.loads(out)


def measure_embeddings(bench, _row):
    took = run_tool(bench, "bench_embedding")
    return {"unit": "us", "parties": {DAEMON: {
        "parse": took["parse_ns"] / 1000,
        "translate": took["translate_ns"] / 1000}}}


def measure_decision(bench, _row):
    took = run_tool(bench, "bench_limiter")
    return {"unit": "us", "budget": DECISION_BUDGET_US, "parties": {
        DAEMON: {"decision": took["admit_ns"] / 1000}}}


def over_memory(counted, value):
    return summary([value(shared) - value(memory) for shared, memory in
                    zip(counted[SHARED], counted[DAEMON])])


def measure_redis(bench, row):
    window_ms = int(bench.seconds * 1000)
    with bench.redis():
        busy = interleave(bench, row, REDIS_CLIENTS, window_ms)
        alone = interleave(bench, row, 1, window_ms // 2)
    demand_core(busy)
    return {"unit": "us", "budget": REDIS_BUDGET_US, "parties": {DAEMON: {
        "cpu": over_memory(busy, lambda s: s["cpu_ns"] / s["answers"] / 1000),
        "rate": statistics.median(s["answers"] / (s["window_ns"] / 1e9)
                                  for s in busy[SHARED]),
        **{key: over_memory(alone, lambda s, key=key: s[key + "_ns"] / 1000)
           for key in ("p50", "p99")}}}}


def measure_oracle(bench, row):
    counted = interleave(bench, row, row.connections, int(bench.seconds * 1000))
    rate = {name: [sample["answers"] / (sample["window_ns"] / 1e9)
                   for sample in samples]
            for name, samples in counted.items()}
    demand_quiet({NGINX: counted[NGINX]}, rate[NGINX])
    asking = summary(rate[ASKING])
    asking["ratio"] = summary([value / base for value, base in
                               zip(rate[ASKING], rate[NGINX])])
    return {"unit": "1/s", "parties": {NGINX: summary(rate[NGINX]),
                                       DAEMON: asking}}
