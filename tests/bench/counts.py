#!/usr/bin/env python3
"""What a request costs in instructions, system calls and allocations: counts,
which are the same on a busy machine.

    counts.py [--write]

Prints the table of contrib/HACKING.md as it is now, and fails if a path costs
more than it says there, and GROWTH allows. --write puts the new one there.
Callgrind counts what the daemon itself executes, not the kernel. libc and
libcrypto choose their code by the processor, so they are shown and not judged;
and nothing is on another system than that of the table.
"""

import argparse
import contextlib
import pathlib
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from http.client import HTTPException, HTTPResponse

import bench
from measuring import check
from parties import (DAEMON, DAEMON_CONF, ROOT, SEARCH, Bench, Failed,
                     Party, free_port, spawn, stop, wait_for)
from profile_reader import read_profile
from rows import ALL_ROWS

HACKING = ROOT / "contrib/HACKING.md"
BEGIN, END = "<!-- counts begin -->\n", "<!-- counts end -->\n"
TABLE_OF = "debian 12 x86_64"
PATHS = {"chat": "plain chat to vLLM", "burst": "200-piece vLLM stream",
         "ollama-chat": "plain chat to Ollama", "authz": "/internal/authz"}
TOTALS = ("instructions", "judged of them", "allocations", "system calls")
GROWTH = {"judged of them": 1.05, "allocations": 1.05, "system calls": 1.05}
NOT_JUDGED = ("libc", "libcrypto")
TOOLS = ("valgrind", "callgrind_control", "strace", "pkill")
WARM_UP, TIMES = 50, 200
PATIENCE_S = 60  # a daemon under valgrind is slow
# Longer than the daemon takes to go to sleep, under a tool as well: an answer
# that is there before would save a turn of the loop, as often as that happens.
ANSWER_MS = 10


@contextlib.contextmanager
def daemon(measured, command, template=DAEMON_CONF):
    """A daemon under a tool; one worker."""
    port = free_port()
    config = measured.write_config("counts", template, port)
    errors = measured.folder / "counts.stderr"
    with open(errors, "wb") as stderr:
        child = spawn([*command, measured.daemon, "-c", config],
                      measured.cores[0], stderr=stderr,
                      stdout=subprocess.DEVNULL, env={"PATH": SEARCH})
    try:
        wait_for(port, child, errors, PATIENCE_S)
        yield Party(DAEMON, port, child.pid), child
    finally:
        stop(child, PATIENCE_S)


def ask(port, asked, times):
    """One after the other, on one connection."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        for _ in range(times):
            sock.sendall(asked)
            answer = HTTPResponse(sock)
            answer.begin()
            answer.read()
            if answer.status != 200:
                raise Failed(f"it answers {answer.status}")


def profile(measured, row):
    out = measured.folder / f"{row.name}.callgrind"
    asked = row.asked[DAEMON][0]
    with daemon(measured, ["valgrind", "--tool=callgrind", "--instr-atstart=no",
                           f"--callgrind-out-file={out}"]) as (party, _):
        check(row, party)
        ask(party.port, asked, WARM_UP)
        for state, times in (("on", TIMES), ("off", 0)):
            subprocess.run(["callgrind_control", "-i", state, str(party.pid)],
                           check=True, capture_output=True)
            ask(party.port, asked, times)
    return read_profile(out)


def system_calls(measured, row, times):
    """Of a whole life in which so many requests were answered. Without the
    access log, which is written by the clock and not by the request."""
    out = measured.folder / "strace"
    with daemon(measured, ["strace", "-f", "-c", "-U", "calls", "-o", out],
                re.sub("ACCESS_LOG=.*", "", DAEMON_CONF)) as (party, child):
        ask(party.port, row.asked[DAEMON][0], times)
        # strace would let its child go on.
        subprocess.run(["pkill", "-TERM", "-P", str(party.pid)], check=True)
        child.wait(PATIENCE_S)
    return int(out.read_text().split()[-2])


def count(measured, row):
    """line of the table -> count a request."""
    places, allocations = profile(measured, row)
    few, many = (system_calls(measured, row, times)
                 for times in (WARM_UP, WARM_UP + TIMES))
    lines = {name: part / TIMES for name, part in places.items()}
    return {**lines, "instructions": sum(lines.values()),
            "judged of them": sum(part for name, part in lines.items()
                                  if name not in NOT_JUDGED),
            "allocations": allocations / TIMES,
            "system calls": (many - few) / TIMES}


def table(counts):
    """The counts of all paths, dearest line first, as Markdown."""
    parts = {name for path in counts.values() for name in path} - set(TOTALS)
    dearest = sorted(parts, key=lambda name: -sum(
        path.get(name, 0) for path in counts.values()))
    lines = ["| a request costs | " + " | ".join(PATHS.values()) + " |",
             "|---|" + "---:|" * len(PATHS)]
    for name in (*TOTALS, *dearest):
        digits = 1 if name in TOTALS[2:] else 0
        cells = [f"{counts[path].get(name, 0):.{digits}f}" for path in PATHS]
        title = name if name in TOTALS else f"`{name}`"
        lines.append(f"| {' | '.join([title, *cells])} |")
    return "\n".join(lines) + "\n"


def kept():
    """What HACKING.md holds, as count() has it, by path."""
    text = HACKING.read_text(encoding="utf-8").partition(BEGIN)[2]
    counts = {path: {} for path in PATHS}
    for line in text.partition(END)[0].splitlines()[2:]:
        name, *cells = (cell.strip(" `") for cell in line.strip("|").split("|"))
        for path, cell in zip(PATHS, cells):
            counts[path][name] = float(cell)
    return counts


def write(text):
    whole = HACKING.read_text(encoding="utf-8")
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    HACKING.write_text(before + begin + text + end + after, encoding="utf-8")


def grown(path, lines):
    """What costs more than it may, one line each."""
    before = kept()[path]
    for name, growth in GROWTH.items():
        if lines[name] > before[name] * growth:
            yield (f"counts: {PATHS[path]}: {name}: {lines[name]:.1f}, and "
                   f"contrib/HACKING.md says {before[name]:.1f}")


def this_system():
    with open("/etc/os-release", encoding="utf-8") as file:
        says = dict(line.rstrip().partition("=")[::2] for line in file)
    names = (says.get("ID", ""), says.get("VERSION_ID", ""))
    return " ".join(name.strip('"') for name in (*names, platform.machine()))


def count_judged(measured, row):
    """Again if it is too dear: what is so by chance is not so twice."""
    lines = count(measured, row)
    if any(grown(row.name, lines)):
        again = count(measured, row)
        lines = {name: min(part, again.get(name, 0))
                 for name, part in lines.items()}
    return lines


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--write", action="store_true",
                         help="into contrib/HACKING.md")
    args = options.parse_args()
    for tool in TOOLS:
        if shutil.which(tool) is None:
            sys.exit(f"counts: {tool} is missing; `make deps-check` installs "
                     "it")
    judging = not args.write and this_system() == TABLE_OF
    build = ROOT / "build/release"
    bench.build_tools(build)
    rows = {row.name: row for row in ALL_ROWS}
    with tempfile.TemporaryDirectory(prefix="llm-proxy-counts-") as folder:
        measured = Bench(build, build / "src/llm-proxyd", 1, 1, 1,
                         pathlib.Path(folder), bench.usable_cores())
        with measured.backend(answer_ms=ANSWER_MS):
            try:
                measure = count_judged if judging else count
                counts = {path: measure(measured, rows[path])
                          for path in PATHS}
            except (Failed, OSError, HTTPException,
                    subprocess.SubprocessError) as problem:
                sys.exit(f"counts: {problem}")
    print(table(counts), end="")
    if args.write:
        write(table(counts))
        return 0
    if not judging:
        print(f"\nNot judged: the table is of {TABLE_OF}.")
        return 0
    worse = [line for path in PATHS for line in grown(path, counts[path])]
    print("\n".join(worse), file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
