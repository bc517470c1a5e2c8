"""What many open streams cost, and how long their pieces and their ends are
under way."""

import dataclasses
import json
import statistics
import subprocess

from crowd import most_clients
from measuring import demand_core, interleave, summary
from parties import (DAEMON, DIRECT, PYTHON_OF_REFERENCE, ROOT, SCALED,
                     Disturbed, Failed)
from rows import STREAM_BUDGET_US

LEAVES = 50
# A piece that nobody has passed on is there at once; if not, the clock of
# this machine or its load is not to be trusted.
MOST_DIRECT_US = 1000
SCALE_INTERVAL_MS = 200
SCALE = (100, 300, 1000, 3000, 6000)
SCALE_WINDOW_MS = 3000
HERE = ROOT / "tests/bench"


def measure_times(bench, row):
    """A round's p99 is its value; of 50 who leave that is the slowest."""
    counted = interleave(bench, row, bench.streams, int(bench.seconds * 1000),
                         "--timed", "--leave", LEAVES,
                         "--backend-port", bench.backend_port)
    direct = counted.pop(DIRECT)
    demand_core(counted)
    late = statistics.median(sample["hold_p99_us"] for sample in direct)
    if late > MOST_DIRECT_US:
        raise Disturbed(f"pieces are {late} us late without a proxy")
    for name, samples in counted.items():
        for sample in samples:
            if sample["holds"] < 0.9 * sample["events"]:
                raise Failed(f"{name}: of {sample['events']} pieces only "
                             f"{sample['holds']} say when they were sent")
    return {"unit": "us", "budget": STREAM_BUDGET_US, "parties": {
        name: {key: summary([sample[f"{key}_p99_us"] for sample in samples])
               for key in ("hold", "leave")}
        for name, samples in counted.items()}}


def measure_scale(bench, row):
    """5 pieces a second each."""
    points = {name: [] for name in row.asked}
    most = most_clients()
    wide = dataclasses.replace(bench, streams=most)
    with wide.backend(SCALE_INTERVAL_MS, pieces=1_000_000):
        for streams in (*SCALE, most):
            for name in row.asked:
                with wide.party(name) as party:
                    sample = wide.load(
                        row, party, SCALE_WINDOW_MS, streams, "--timed",
                        "--ramp-ms", 1000 + streams * 2,
                        "--warmup-ms", 2000)
                due = streams * sample["window_ns"] / 1e6 / SCALE_INTERVAL_MS
                points[name].append({
                    "streams": streams,
                    "per_piece": sample["cpu_ns"] / sample["events"] / 1000,
                    "busy": sample["cpu_ns"] / sample["window_ns"],
                    "rss_mib": sample["rss_anon_kib"] / 1024,
                    "hold_p99_ms": sample["hold_p99_us"] / 1000,
                    "in_time": sample["events"] / due})
    return {"unit": "us", "parties": {
        {SCALED: DAEMON}.get(name, name): {"points": of_one}
        for name, of_one in points.items()}}


def draw(report, picture):
    """The curves of a report's row `scale`, by matplotlib."""
    done = subprocess.run(
        [str(PYTHON_OF_REFERENCE), str(HERE / "draw.py"), str(picture)],
        input=json.dumps(report), text=True, check=False)
    if done.returncode != 0:
        raise Failed("the curves cannot be drawn; `make scale` installs what "
                     "it takes")
