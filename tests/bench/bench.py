#!/usr/bin/env python3
"""`make bench`: what a request costs, as a ratio to nginx.

nginx and HAProxy as plain reverse proxies and llm-proxyd with tokens, limits
and access log stand in front of the same scripted backend. Each proxy runs on
the first core, backend and load on the second. Cost is the time on the CPU
that the kernel counted for all threads of a proxy, divided by what it
answered in the same window. Backend and load stay awake unless streams are
paced: waking them would be counted for slower proxies alone.
Rounds are interleaved (A B C A B C ...), ratios are taken within a round.

A row that was disturbed is measured again while there is time to spare; if it
stays disturbed, the table says so and shows no ratio. The exit status is 0
only if every row has its number; a missed target does not change it.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from crowd import measure_crowd, measure_idle
from measuring import (measure_cost, measure_decision, measure_embeddings,
                       measure_latency, measure_memory, measure_mixed,
                       measure_oracle, measure_redis, measure_spread,
                       measure_turns)
from operations import measure_reload, measure_start
from parties import (DAEMON, HAPROXY, NGINX, PYTHON, PYTHON_OF_REFERENCE, ROOT,
                     SEARCH, Bench, Disturbed, Failed, first_line)
from proof import measure_proof
from report import table
from rows import ALL_ROWS, MORE_ROWS, REFERENCE
from streams import draw, measure_scale, measure_times

TOOLS = ("bench_backend", "bench_load", "bench_embedding", "bench_limiter")
# By the row's kind, which says how it is shown, too.
METHODS = {"cost": measure_cost, "oracle": measure_oracle,
           "decision": measure_decision, "redis": measure_redis,
           "latency": measure_latency, "memory": measure_memory,
           "embeddings": measure_embeddings, "turns": measure_turns,
           "mixed": measure_mixed, "times": measure_times,
           "proof": measure_proof, "scale": measure_scale,
           "spread": measure_spread, "reference": measure_cost,
           "crowd": measure_crowd, "idle": measure_idle,
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


def installed_reference():
    if not PYTHON_OF_REFERENCE.parents[1].joinpath(".done").exists():
        print("bench: no FastAPI to compare with; `make bench` installs it",
              file=sys.stderr)
        REFERENCE.asked.pop(PYTHON, None)


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
    names = [row.name for row in ALL_ROWS + MORE_ROWS]
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
    parser.add_argument("--picture", type=pathlib.Path,
                        help="where to draw the curves of row scale")
    parser.add_argument("--markdown", action="store_true",
                        help="print the table as README.md has it")
    return parser.parse_args()


def main():
    # The proxies are ended on the way out, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = options()
    installed_parties()
    installed_reference()
    cores = usable_cores()
    build = args.build.resolve()
    daemon = (args.daemon or build / "src" / "llm-proxyd").resolve()
    build_tools(build)
    if not daemon.exists():
        sys.exit(f"bench: no {daemon}; `make` builds it")
    streams = usable_streams(args.streams)
    every_time = [row.name for row in ALL_ROWS]
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
            for row in ALL_ROWS + MORE_ROWS:
                if row.name not in (args.row or every_time):
                    continue
                print(f"bench: {row.name} ...", file=sys.stderr, flush=True)
                report["rows"].append(measure(bench, row))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=1) + "\n")
    measured = [row["name"] for row in report["rows"] if "parties" in row]
    if args.picture and "scale" in measured:
        draw(report, args.picture)
    print(table(report["rows"], args.markdown))
    host = report["machine"]
    print(f"\nMedians of {args.rounds} interleaved rounds (least-most); "
          f"{host['cpu']}, kernel {host['kernel']}, {streams} streams "
          f"where many are open, {time.monotonic() - began:.0f} s.")
    return 0 if all("parties" in row for row in report["rows"]) else 1


if __name__ == "__main__":
    sys.exit(main())
