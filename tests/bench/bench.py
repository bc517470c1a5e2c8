#!/usr/bin/env python3
"""`make bench`: what a request costs, as a ratio to nginx.

nginx and HAProxy as plain reverse proxies and llm-proxyd with tokens, limits
and access log stand in front of the same scripted backend. Each proxy runs on
the first core, backend and load on the second. Cost is the time on the CPU
that the kernel counted for all threads of a proxy, divided by what it
answered in the same window, so it does not depend on who is the bottleneck.
Rounds are interleaved (A B C A B C ...), ratios are taken within a round.

A row that was disturbed is measured again while there is time to spare; if it
stays disturbed, the table says so and shows no ratio. The exit status is 0
only if every row has its number; a missed target does not change it.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse

from operations import measure_reload, measure_start
from parties import (ASKING, DAEMON, DIRECT, HAPROXY, METERED, NGINX,
                     INTERVAL_MS, PIECES, RELOADED, ROOT, SEARCH, SHARED,
                     TOKEN, Bench, Disturbed, Failed, first_line, spawn)
from report import table

TOOLS = ("bench_backend", "bench_load", "bench_embedding", "bench_limiter")
CONNECTIONS = 64

# A row counts as disturbed when nginx's own rounds differ by more than this,
# or when the proxies waited for their core for more than this share of the
# time that they ran on it: another program was there.
MAX_SPREAD = 0.25
MAX_WAIT = 0.15


# What is sent. An SDK's request has about these headers, so every proxy reads
# and passes on as many as it will in practice.

def request(path, body=None, more=()):
    head = [
        f"{'POST' if body else 'GET'} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept-Encoding: gzip, deflate",
        "Connection: keep-alive",
        "Accept: application/json",
        "User-Agent: OpenAI/Python 1.57.0",
        "X-Stainless-Lang: python",
        "X-Stainless-Package-Version: 1.57.0",
        "X-Stainless-OS: Linux",
        "X-Stainless-Arch: x64",
        "X-Stainless-Runtime: CPython",
        "X-Stainless-Runtime-Version: 3.11.7",
        "X-Stainless-Async: false",
        "X-Stainless-Retry-Count: 0",
        f"Authorization: Bearer {TOKEN}",
        *more,
    ]
    if body:
        head += ["Content-Type: application/json",
                 f"Content-Length: {len(body)}"]
    return "\r\n".join(head + ["", body or ""]).encode()


def chat(model, stream=False, path="/v1/chat/completions"):
    return request(path, json.dumps({
        "messages": [
            {"role": "system", "content": "You are a patient teacher who "
             "answers in short, plain sentences."},
            {"role": "user", "content": "What does a reverse proxy do, and "
             "how does one notice a good one?"},
        ],
        "model": model,
        "max_tokens": 256,
        "stream": stream,
        "temperature": 0.7,
    }, separators=(",", ":")))


def image_chat(body_bytes):
    """A chat of about so many bytes, nearly all of them one image."""
    image = "A" * (body_bytes // 4 * 4 - 1024)
    return request("/v1/chat/completions", json.dumps({
        "model": "ollama:bench",
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url",
             "image_url": {"url": "data:image/png;base64," + image}}]}]}))


def long_chat(body_bytes):
    return request("/v1/chat/completions", json.dumps({
        "model": "vllm:bench",
        "messages": [{"role": "user",
                      "content": "word " * ((body_bytes - 1024) // 5)}]}))


def embeddings():
    return request("/v1/embeddings", json.dumps({
        "model": "ollama:bench", "encoding_format": "base64",
        "input": ["a sentence"] * 256}))


# What must come back before a proxy is measured: fast nonsense has no number.

def is_chat(body):
    choice = json.loads(body)["choices"][0]
    return len(choice["message"]["content"]) > 250


def is_ollama_chat(body):
    return len(json.loads(body)["message"]["content"]) > 250


def is_sse(body):
    events = [event for event in body.split(b"\n\n") if event]
    return (events[-1] == b"data: [DONE]" and len(events) > PIECES
            and all(json.loads(event[6:])["choices"] for event in events[:-1]))


def is_ndjson(body):
    lines = body.splitlines()
    return len(lines) == PIECES and json.loads(lines[-1])["done"]


def is_embeddings(body):
    return len(json.loads(body)["data"]) == 256


def is_anything(body):
    return body is not None


@dataclass
class Row:
    name: str
    title: str
    # What each is asked: (request, check of its answer or None).
    asked: dict
    per: str = "answers"      # or "events"
    target: float = None      # ratio to nginx that this release aims at
    budget: float = None      # ratio that the design allows
    paced: bool = False
    kind: str = "cost"


ROWS = [
    Row("chat", "plain chat to vLLM",
        {NGINX: (chat("bench"), is_chat),
         HAPROXY: (chat("bench"), is_chat),
         DAEMON: (chat("vllm:bench"), is_chat)}, target=2.5, budget=2.0),
    Row("burst", "200-piece vLLM stream in one burst",
        {NGINX: (chat("bench", True), is_sse),
         HAPROXY: (chat("bench", True), is_sse),
         DAEMON: (chat("vllm:bench", True), is_sse)}, target=1.0, budget=0.7),
    Row("ollama-chat", "plain chat to Ollama, translated; others untranslated",
        {NGINX: (chat("bench", path="/api/chat"), is_ollama_chat),
         HAPROXY: (chat("bench", path="/api/chat"), is_ollama_chat),
         DAEMON: (chat("ollama:bench"), is_chat)}, budget=2.5),
    Row("ollama-burst",
        "200-piece Ollama stream in one burst, translated; others not",
        {NGINX: (chat("bench", True, "/api/chat"), is_ndjson),
         HAPROXY: (chat("bench", True, "/api/chat"), is_ndjson),
         DAEMON: (chat("ollama:bench", True), is_sse)}, budget=1.5),
    Row("paced", "paced vLLM stream, per piece",
        {NGINX: (chat("paced", True), None),
         HAPROXY: (chat("paced", True), None),
         DAEMON: (chat("vllm:paced", True), None)},
        per="events", budget=1.2, paced=True),
    Row("local", "answered by itself: /healthz against `return 200`",
        {NGINX: (request("/empty"), is_anything),
         DAEMON: (request("/healthz"), is_anything)}),
    Row("authz", "a question of nginx's (/internal/authz) against `return "
        "200`",
        {NGINX: (request("/empty"), is_anything),
         DAEMON: (request("/internal/authz", more=[
             "X-Original-URI: /v1/chat/completions",
             "X-Original-Method: POST"]), is_anything)}, budget=2.0),
]
# Rows of another kind: microseconds over direct, and memory.
LATENCY = Row("latency", "added latency, one client, plain chat",
              {DIRECT: (chat("bench"), is_chat), **ROWS[0].asked},
              kind="latency")
MEMORY = Row("memory", "RssAnon: at start, per open stream", ROWS[4].asked,
             paced=True, kind="memory")
OLLAMA_MEMORY = Row(
    "ollama-memory", "the same, translated streams of Ollama",
    {DAEMON: (chat("ollama:paced", True), None)}, paced=True, kind="memory")
LARGEST = 20 * 1024 * 1024
TURNS = [
    Row("turn-image", "longest turn of the loop: 20 MiB image to Ollama",
        {METERED: (image_chat(LARGEST), is_chat)}, kind="turns"),
    Row("turn-embeddings", "longest turn: 256 embeddings of 1024 from Ollama",
        {METERED: (embeddings(), is_embeddings)}, kind="turns"),
    Row("turn-chat", "longest turn: 20 MiB chat to vLLM",
        {METERED: (long_chat(LARGEST), is_chat)}, kind="turns"),
]
EMBEDDINGS = Row("embeddings", "256 embeddings of 1024 to base64, ratio to "
                 "jansson reading them", {}, budget=2.0, kind="embeddings")
# Requests per second of all processes on one core, nginx with nothing to ask
# and the shipped shape 1, which fetches from vLLM itself.
ORACLE = Row("oracle", "chats per second: nginx alone, and asking llm-proxyd "
             "first (shape 1)",
             {NGINX: (chat("bench"), is_chat), ASKING: (chat("bench"), is_chat)},
             kind="oracle")
# What limits cost: beside the daemon with its memory the same one on Redis.
DECISION = Row("decision", "a decision on a token's limits, in memory", {},
               kind="decision")
REDIS = Row("redis", "the same by Redis, over memory: CPU; p50 and p99 of one "
            "client",
            {DAEMON: ROWS[0].asked[DAEMON], SHARED: ROWS[0].asked[DAEMON]},
            kind="redis")
START = Row("start", "from the start to the first answer", {}, kind="start")
RELOAD = Row("reload", "reload of 10,000 tokens, the longest turn meanwhile",
             {RELOADED: ROWS[0].asked[DAEMON]}, kind="reload")
DECISION_BUDGET_US = 1
REDIS_BUDGET_US = 15
# So many clients ask 5,000 times a second or more.
REDIS_CLIENTS = 4
TURN_BUDGET_US = 5000
LATENCY_BUDGET_US = (100, 500)      # p50, p99
MEMORY_BUDGET_KIB = (4096, 24)      # at start, per stream
ALL_ROWS = (ROWS + [ORACLE, LATENCY, MEMORY, OLLAMA_MEMORY] + TURNS
            + [EMBEDDINGS, DECISION, REDIS, START, RELOAD])


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


def interleave(bench, row, connections, window_ms):
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
                    bench.load(row, party, window_ms, connections))
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
    connections = bench.streams if row.paced else CONNECTIONS
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


def measure_embeddings(bench, row):
    child = spawn([bench.tool("bench_embedding")], bench.cores[0],
                  stdout=subprocess.PIPE, text=True)
    out, _ = child.communicate(timeout=60)
    if child.returncode != 0:
        raise Failed("bench_embedding failed")
    took = json.loads(out)
    return {"unit": "us", "parties": {DAEMON: {
        "parse": took["parse_ns"] / 1000,
        "translate": took["translate_ns"] / 1000}}}


def measure_decision(bench, row):
    child = spawn([bench.tool("bench_limiter")], bench.cores[0],
                  stdout=subprocess.PIPE, text=True)
    out, _ = child.communicate(timeout=60)
    if child.returncode != 0:
        raise Failed("bench_limiter failed")
    return {"unit": "us", "budget": DECISION_BUDGET_US, "parties": {
        DAEMON: {"decision": json.loads(out)["admit_ns"] / 1000}}}


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
    counted = interleave(bench, row, CONNECTIONS, int(bench.seconds * 1000))
    rate = {name: [sample["answers"] / (sample["window_ns"] / 1e9)
                   for sample in samples]
            for name, samples in counted.items()}
    demand_quiet({NGINX: counted[NGINX]}, rate[NGINX])
    asking = summary(rate[ASKING])
    asking["ratio"] = summary([value / base for value, base in
                               zip(rate[ASKING], rate[NGINX])])
    return {"unit": "1/s", "parties": {NGINX: summary(rate[NGINX]),
                                       DAEMON: asking}}


# By the row's kind, which says how it is shown, too.
METHODS = {"cost": measure_cost, "oracle": measure_oracle,
           "decision": measure_decision, "redis": measure_redis,
           "latency": measure_latency, "memory": measure_memory,
           "embeddings": measure_embeddings, "turns": measure_turns,
           "start": measure_start, "reload": measure_reload}


def measure(bench, row):
    method = METHODS[row.kind]
    while True:
        began = time.monotonic()
        try:
            result = method(bench, row)
        except Disturbed as problem:
            result = {"disturbed": str(problem)}
        except (Failed, OSError, subprocess.SubprocessError) as problem:
            result = {"failed": str(problem)}
        took = time.monotonic() - began
        if "disturbed" not in result or took > bench.spare_seconds:
            break
        bench.spare_seconds -= took
    return {"name": row.name, "kind": row.kind, "title": row.title,
            "target": row.target, "ratio_budget": row.budget, **result}


def version(command):
    try:
        done = subprocess.run([str(part) for part in command],
                              capture_output=True, text=True, timeout=5,
                              env={"PATH": SEARCH})
    except (OSError, subprocess.SubprocessError) as problem:
        return str(problem)
    return first_line(done.stdout + done.stderr)


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text(errors="replace")
    name = re.search(r"^model name\s*:\s*(.*)$", info, re.M)
    return {"cpu": name[1] if name else platform.machine(),
            "cores": os.cpu_count(), "kernel": platform.release()}


# Setting up

def installed_parties():
    if not shutil.which("nginx", path=SEARCH):
        sys.exit("bench: nginx is missing, and everything is measured "
                 "against it; `make deps-bench` installs it")
    if shutil.which("haproxy", path=SEARCH):
        return
    print("bench: no haproxy, its column stays empty; `make deps-bench` "
          "installs it", file=sys.stderr)
    for row in ALL_ROWS:
        row.asked.pop(HAPROXY, None)


def usable_cores():
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("bench: two cores are needed, one for the proxy and one for "
                 "load and backend")
    return cores[:2]


def usable_streams(wanted):
    """A proxy needs two descriptors a stream."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    streams = min(wanted, (hard - 200) // 2)
    if streams < wanted:
        print(f"bench: {streams} streams instead of {wanted}: only {hard} "
              "descriptors (ulimit -Hn)", file=sys.stderr)
    return streams


def build_tools(build):
    status = subprocess.call(
        ["ninja", "-C", str(build)] + [f"tests/bench/{name}"
                                       for name in TOOLS],
        stdout=subprocess.DEVNULL)
    if status != 0:
        sys.exit(f"bench: {', '.join(TOOLS)} could not be built in {build}")


def options():
    names = [row.name for row in ALL_ROWS]
    parser = argparse.ArgumentParser(
        description="CPU per request of nginx, HAProxy and llm-proxyd")
    parser.add_argument("--row", action="append", choices=names,
                        help="only this row; may be given several times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5,
                        help="length of a window")
    parser.add_argument("--streams", type=int, default=1000,
                        help="open streams of the rows that need many")
    parser.add_argument("--build", type=pathlib.Path,
                        default=ROOT / "build" / "release",
                        help="meson build folder")
    parser.add_argument("--daemon", type=pathlib.Path,
                        help="default: src/llm-proxyd in the build folder")
    parser.add_argument("--json", type=pathlib.Path,
                        default=ROOT / "build" / "bench.json")
    parser.add_argument("--markdown", action="store_true",
                        help="print the table as README.md has it")
    return parser.parse_args()


def main():
    # The proxies are ended on the way out, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = options()
    installed_parties()
    cores = usable_cores()
    build = args.build.resolve()
    daemon = (args.daemon or build / "src" / "llm-proxyd").resolve()
    build_tools(build)
    if not daemon.exists():
        sys.exit(f"bench: no {daemon}; `make` builds it")
    streams = usable_streams(args.streams)
    began = time.monotonic()
    report = {"date": time.strftime("%Y-%m-%d"), "machine": machine(),
              "versions": {NGINX: version(["nginx", "-v"]),
                           HAPROXY: version(["haproxy", "-v"]),
                           DAEMON: version([daemon, "-V"])},
              "rounds": args.rounds, "seconds": args.seconds,
              "streams": streams, "rows": []}
    with tempfile.TemporaryDirectory(prefix="llm-proxy-bench-") as folder:
        bench = Bench(build, daemon, args.rounds, args.seconds,
                      streams, pathlib.Path(folder), cores)
        with bench.backend():
            for row in ALL_ROWS:
                if args.row and row.name not in args.row:
                    continue
                print(f"bench: {row.name} ...", file=sys.stderr, flush=True)
                report["rows"].append(measure(bench, row))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report["rows"], args.markdown))
    host = report["machine"]
    print(f"\nMedians of {args.rounds} interleaved rounds (least-most); "
          f"{host['cpu']}, kernel {host['kernel']}, {streams} streams "
          f"where many are open, {time.monotonic() - began:.0f} s.")
    return 0 if all("parties" in row for row in report["rows"]) else 1


if __name__ == "__main__":
    sys.exit(main())
