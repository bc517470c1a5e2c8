#!/usr/bin/env python3
"""Runs the test suites, builds what each needs and adds up what they say.

    tests/check.py [--list] [SUITE|GROUP ...]

A suite is WHAT or WHAT-BUILD: `unit`, `integration-asan`. Without arguments
the group `check` runs, which is all that `make check` promises. The last line
is the sum over all suites. With CI=true a skipped test counts as failed.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, "build", "check")
CI = os.environ.get("CI", "") not in ("", "0", "false")

# What pytest is given; `unit` is meson's.
PYTEST = {
    # clang-tidy over all of it takes minutes, so "make lint" goes without.
    "lint": ["tests/lint", "-m", "not tidy"],
    "tidy": ["tests/lint", "-m", "tidy", "-o", "timeout=900"],
    "integration": ["tests/integration",
                    "--ignore=tests/integration/test_hostile.py",
                    "-m", "not nginx and not sandbox"],
    # The same under the shipped unit's restrictions; takes root.
    "sandbox": ["tests/integration",
                "--ignore=tests/integration/test_hostile.py",
                "-m", "not nginx and not bare or sandbox"],
    # Builds the image's own daemon; takes root and minutes.
    "container": ["tests/container", "-o", "timeout=1400"],
    "nginx": ["tests/integration", "-m", "nginx"],
    "hostile": ["tests/integration/test_hostile.py"],
    "threads": ["tests/integration", "-m", "threads"],
    "sdk": ["tests/sdk"],
    "counts": ["tests/bench/test_counts.py", "-o", "timeout=900"],
}
GROUPS = {
    "check": ["lint", "tidy", "unit", "unit-asan", "integration",
              "hostile-asan", "integration-asan", "threads-tsan", "nginx",
              "sdk", "counts"],
    "asan": ["unit-asan", "hostile-asan", "integration-asan", "nginx-asan",
             "sdk-asan"],
    "tsan": ["unit-tsan", "hostile-tsan", "integration-tsan", "nginx-tsan",
             "sdk-tsan"],
}
# These wait more than they compute, and each test has its own ports and files.
SIDE_BY_SIDE = {"integration": "loadscope", "sandbox": "loadscope",
                "threads": "loadscope", "nginx": "loadscope",
                "sdk": "loadgroup"}
NEEDS_NO_BUILD = ("container",)
BUILDS = ("release", "asan", "tsan")
SUITE_SECONDS = 1500


@dataclass
class Result:
    passed: int = 0
    skipped: list = field(default_factory=list)  # (test, reason)
    failed: list = field(default_factory=list)   # (test, text)
    notes: list = field(default_factory=list)    # what a suite counted itself
    seconds: float = 0


def in_sandbox(program):
    """A program that runs this one as the shipped unit has it run."""
    harness = os.path.join(ROOT, "tests", "harness")
    folder = os.path.join(ROOT, "build", "sandbox")
    os.makedirs(folder, exist_ok=True)
    calls = os.path.join(folder, "calls.bpf")
    subprocess.run([sys.executable, os.path.join(harness, "seccomp_filter.py"),
                    os.path.join(ROOT, "contrib/systemd/llm-proxyd.service"),
                    calls], check=True)  # which says what is missing
    path = os.path.join(folder, os.path.basename(program))
    words = [sys.executable, "-I", os.path.join(harness, "sandbox.py"), calls,
             tempfile.gettempdir(), program]
    with open(path, "w", encoding="utf-8") as script:
        script.write(f"#!/bin/sh\nexec {shlex.join(words)} \"$@\"\n")
    os.chmod(path, 0o755)
    ctl = os.path.join(folder, "llm-proxyctl")
    if os.path.lexists(ctl):
        os.unlink(ctl)
    os.symlink(os.path.join(os.path.dirname(program), "llm-proxyctl"), ctl)
    return path


def environment(build, what):
    env = dict(os.environ)
    env.pop("MAKEFLAGS", None)
    env.pop("MAKELEVEL", None)
    program = os.path.join(ROOT, "build", build, "src", "llm-proxyd-test")
    env["LLM_PROXYD"] = in_sandbox(program) if what == "sandbox" else program
    env["LLM_PROXY_BUILD"] = os.path.join(ROOT, "build", build)
    env["ASAN_OPTIONS"] = "detect_stack_use_after_return=1"
    env["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
    env["TSAN_OPTIONS"] = ("second_deadlock_stack=1 suppressions="
                           f'"{ROOT}/tests/tsan.suppressions"')
    return env


def run(command, build, log, what=None):
    """Returns the exit status; output goes to the file `log`."""
    with open(log, "w", encoding="utf-8") as out:
        child = subprocess.Popen(command, cwd=ROOT,
                                 env=environment(build, what),
                                 stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=subprocess.STDOUT,
                                 start_new_session=True)
        try:
            return child.wait(SUITE_SECONDS)
        except subprocess.TimeoutExpired:
            return f"more than {SUITE_SECONDS} s, killed"
        finally:
            # Also what a killed or broken suite left behind.
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()


def tail(path, lines=40):
    with open(path, encoding="utf-8", errors="replace") as text:
        return "".join(text.readlines()[-lines:])


def without_aslr(build):
    """ThreadSanitizer of gcc 12 dies on kernels that randomise more bits of
    an address than it has room for."""
    if build != "tsan" or not shutil.which("setarch"):
        return []
    try:
        with open("/proc/sys/vm/mmap_rnd_bits", encoding="ascii") as bits:
            return ["setarch", "-R"] if int(bits.read()) > 28 else []
    except (OSError, ValueError):
        return []


def side_by_side(what):
    if what not in SIDE_BY_SIDE:
        return []
    return ["-n", str(min(8, 2 * (os.cpu_count() or 1))), "--dist",
            SIDE_BY_SIDE[what]]


def selection(what, build):
    """A sanitizer needs descriptors of its own to look at the memory."""
    return [part if build == "release" or not part.startswith("not nginx")
            else part + " and not native" for part in PYTEST[what]]


def run_pytest(what, build, name):
    if what == "sandbox" and os.geteuid() != 0:
        return Result(failed=[(name, "it takes root")])
    xml = os.path.join(OUT, name + ".xml")
    log = os.path.join(OUT, name + ".log")
    if os.path.exists(xml):
        os.remove(xml)
    status = run(without_aslr(build)
                 + [sys.executable, "-m", "pytest", "-p", "no:cacheprovider",
                    "-ra", "-o", "junit_logging=no", "--junitxml=" + xml]
                 + selection(what, build) + side_by_side(what), build, log,
                 what)
    result = Result()
    try:
        read_junit(xml, result)
    except (OSError, ElementTree.ParseError) as problem:
        result.failed.append((name, f"no result: {problem}\n{tail(log)}"))
    # 1 = tests failed, which the file says; anything else is the suite's end.
    if status not in (0, 1) or (status == 1 and not result.failed):
        result.failed.append((name, f"pytest ended with {status}\n{tail(log)}"))
    return result


def read_junit(path, result):
    suites = ElementTree.parse(path).getroot()
    for note in suites.iter("property"):
        result.notes.append(f"{note.get('name')} {note.get('value')}")
    workers = {}
    for case in suites.iter("testcase"):
        test = f"{case.get('classname')}::{case.get('name')}"
        count = re.search(r"workers[-=_ ]?(\d+)", case.get("name", ""))
        if count:
            workers[count[1]] = workers.get(count[1], 0) + 1
        bad = [child for child in case if child.tag in ("failure", "error")]
        skip = case.find("skipped")
        if bad:
            result.failed.append((test, bad[0].text or bad[0].get("message")))
        elif skip is not None:
            result.skipped.append((test, skip.get("message")))
        else:
            result.passed += 1
    for count, cases in sorted(workers.items()):
        result.notes.append(f"WORKERS={count}: {cases} cases")


def run_meson(build, name):
    log = os.path.join(OUT, name + ".log")
    status = run(without_aslr(build)
                 + ["meson", "test", "-C", "build/" + build, "--no-rebuild",
                    "--suite", "unit", "--suite", "library"], build, log)
    result = Result()
    path = os.path.join(ROOT, "build", build, "meson-logs", "testlog.json")
    programs = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as lines:
            programs = [json.loads(line) for line in lines]
    for program in programs:
        read_cmocka(program, result)
    if not programs or (status != 0 and not result.failed):
        result.failed.append((name, f"meson ended with {status}\n{tail(log)}"))
    return result


def read_cmocka(program, result):
    """A program holds many tests; one that died counts as a failure, too."""
    text = program.get("stdout", "") + program.get("stderr", "")
    result.passed += len(re.findall(r"^\[ +OK \] ", text, re.M))
    skipped = set(re.findall(r"^\[ +SKIPPED +\] ([a-z]\w*)$", text, re.M))
    for test in sorted(skipped):
        result.skipped.append((f"{program['name']}::{test}", "by itself"))
    failed = set(re.findall(r"^\[ +FAILED +\] ([a-z]\w*)$", text, re.M))
    if program["result"] != "OK" and not failed:
        failed = {program["name"]}
    for test in sorted(failed):
        result.failed.append((f"{program['name']}::{test}", text[-3000:]))
    result.notes += re.findall(r"^note: (.*)$", text, re.M)


def run_suite(what, build, name):
    log = os.path.join(OUT, "build-" + build + ".log")
    begin = time.monotonic()
    # Only the unit tests need more than the daemon.
    targets = [] if what == "unit" else [
        "TARGETS=src/llm-proxyd-test src/llm-proxyctl"]
    status = 0 if what in NEEDS_NO_BUILD else run(
        ["make", "--no-print-directory", "build-" + build] + targets, build,
        log)
    seconds = time.monotonic() - begin
    if status != 0:
        return Result(failed=[(name, f"make build-{build} ended with "
                               f"{status}\n{tail(log)}")])
    if seconds > 1:
        print(f"built build/{build} in {seconds:.1f} s", flush=True)

    begin = time.monotonic()
    if what == "unit":
        result = run_meson(build, name)
    else:
        result = run_pytest(what, build, name)
    result.seconds = time.monotonic() - begin
    if CI:
        result.failed += [(test, f"skipped under CI: {reason}")
                          for test, reason in result.skipped]
        result.skipped = []
    return result


def show(name, result):
    print(f"{name:18} {result.passed:6} passed {len(result.failed):4} failed "
          f"{len(result.skipped):4} skipped {result.seconds:7.1f} s"
          + (f"   ({'; '.join(result.notes)})" if result.notes else ""))
    for test, text in result.failed:
        lines = str(text).rstrip().splitlines()
        print(f"  FAILED {test}")
        print("".join(f"    | {line}\n" for line in lines[-60:]), end="")
    for test, reason in result.skipped:
        print(f"  skipped {test}: {reason}")
    sys.stdout.flush()


def main(arguments):
    if "--list" in arguments:
        for group, names in GROUPS.items():
            print(f"{group}: {' '.join(names)}")
        return 0
    names = []
    for argument in arguments or ["check"]:
        names += GROUPS.get(argument, [argument])
    for name in names:
        what, _, build = name.partition("-")
        if (what != "unit" and what not in PYTEST) or (
                build and build not in BUILDS):
            print(f"check.py: no suite or group '{name}'; see --list",
                  file=sys.stderr)
            return 64

    os.makedirs(OUT, exist_ok=True)
    total = Result()
    begin = time.monotonic()
    for name in names:
        what, _, build = name.partition("-")
        result = run_suite(what, build or "release", name)
        show(name, result)
        total.passed += result.passed
        total.failed += result.failed
        total.skipped += result.skipped
    print(f"all suites took {time.monotonic() - begin:.0f} s; "
          "logs are in build/check/")
    print(f"{total.passed} passed, {len(total.failed)} failed"
          + (f", {len(total.skipped)} skipped" if total.skipped else ""))
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
