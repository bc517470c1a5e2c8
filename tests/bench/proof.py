"""That the backend is never the bottleneck: wrk asks it, and the proxies."""

import contextlib
import re
import subprocess

from parties import DIRECT, SEARCH, Disturbed, Failed, first_line

CLIENTS = 64
SECONDS = 2
# wrk and the backend share a core, so alone they are slower than either.
LEAST = 1.5
# Made by wrk itself.
OWN = ("host", "connection", "content-length")


def script(asked):
    """The same request in wrk's words."""
    head, _, body = asked.decode().partition("\r\n\r\n")
    start, *fields = head.split("\r\n")
    lines = [f'wrk.method = "{start.split()[0]}"',
             f"wrk.body = [==[{body}]==]"]
    for field in fields:
        name, _, value = field.partition(": ")
        if name.lower() not in OWN:
            lines.append(f'wrk.headers["{name}"] = [==[{value}]==]')
    return start.split()[1], "\n".join(lines)


def ask(bench, row, party):
    """Answers a second."""
    path, lines = script(row.asked[party.name][0])
    file = bench.folder / "wrk.lua"
    file.write_text(lines)
    done = subprocess.run(
        ["taskset", "-c", str(bench.cores[1]), "wrk", "-t1", f"-c{CLIENTS}",
         f"-d{SECONDS}", "-s", str(file),
         f"http://127.0.0.1:{party.port}{path}"],
        capture_output=True, text=True, timeout=SECONDS + 20, check=False,
        env={"PATH": SEARCH})
    rate = re.search(r"^Requests/sec: +([0-9.]+)", done.stdout, re.M)
    wrong = re.search(r"Non-2xx.*|Socket errors.*", done.stdout)
    if done.returncode != 0 or rate is None or wrong is not None:
        raise Failed(f"{party.name}: wrk says "
                     + (wrong[0] if wrong else first_line(done.stderr)))
    return float(rate[1])


def measure_proof(bench, row):
    rates = {}
    with contextlib.ExitStack() as stack:
        for party in [stack.enter_context(bench.party(name))
                      for name in row.asked]:
            rates[party.name] = ask(bench, row, party)
    alone, best = rates[DIRECT], max(rate for name, rate in rates.items()
                                     if name != DIRECT)
    if alone < LEAST * best:
        raise Disturbed(f"the backend answers {alone:.0f}/s, a proxy "
                        f"{best:.0f}/s")
    return {"unit": "1/s", "parties": {name: {"median": rate}
                                       for name, rate in rates.items()}}
