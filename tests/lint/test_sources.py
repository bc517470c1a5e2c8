"""What every C++ file keeps to: format, length, ASCII, clean compilers."""

import os
import re
import shutil

import floors
import pytest
from tools import (ROOT, compile_commands, files, key, need, read, run,
                   run_each)

CXX = files(["src", "include", "tests"], (".h", ".cc", ".hpp"))
MAX_LINES = 500


def closure(path, seen=None):
    """A file's text and that of every project header it reaches."""
    seen = {} if seen is None else seen
    if path not in seen and os.path.exists(os.path.join(ROOT, path)):
        seen[path] = read(path)
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', seen[path],
                               re.M):
            closure(os.path.join("include", name), seen)
            closure(os.path.join(os.path.dirname(path), name), seen)
    return "\0".join(seen[name] for name in sorted(seen))


def test_files_are_not_too_long():
    long = {path: read(path).count("\n")
            for path in files(["src", "include"], (".h", ".cc"))}
    assert {path: lines for path, lines in long.items()
            if lines > MAX_LINES} == {}


def test_lines_are_ascii_and_80_columns():
    problems = []
    for path in CXX:
        for number, line in enumerate(read(path).split("\n"), 1):
            # A table row with a long string may stick out in a test.
            limit = 80 if not path.startswith("tests/") else 160
            if len(line) > limit:
                problems.append(f"{path}:{number}: {len(line)} columns")
            if re.search(r"[^\x20-\x7e]", line):
                problems.append(f"{path}:{number}: not printable ASCII")
    assert problems == []


def test_sources_say_what_they_are_for():
    """Each .cc begins with a comment."""
    assert [path for path in files(["src"], ".cc")
            if not read(path).startswith("//")] == []


def test_no_unfinished_marks():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert [path for path in CXX if marks.search(read(path))] == []


def test_clang_format():
    status, text = run([need("clang-format"), "--dry-run", "-Werror"] + CXX)
    assert status == 0, text


def test_every_header_compiles_alone():
    compiler = ["g++"] if not shutil.which("ccache") else ["ccache", "g++"]
    need("g++")
    flags = ["-std=c++17", "-D_GNU_SOURCE", "-Iinclude", "-Wall", "-Wextra",
             "-Wpedantic", "-Wshadow", "-Werror", "-fsyntax-only", "-x",
             "c++"]
    version = run(["g++", "--version"])[1]
    jobs = [(path, key("header", version, str(flags), closure(path)),
             compiler + flags + [path])
            for path in floors.sources(ROOT) if path.endswith(".h")]
    problems = run_each(jobs)
    assert problems == [], "\n".join(problems)


@pytest.mark.tidy
def test_clang_tidy():
    tidy = need("clang-tidy")
    version = run([tidy, "--version"])[1]
    rules = read(".clang-tidy")
    commands = compile_commands()
    assert set(commands) == set(files(["src"], ".cc")), \
        "a source is not built, or a built one is gone"
    build = os.environ.get("LLM_PROXY_BUILD", "build/release")
    jobs = [(path, key("tidy", version, rules, command, closure(path)),
             [tidy, "-p", build, "--quiet",
              "--extra-arg=-Wno-unknown-warning-option", path])
            for path, command in sorted(commands.items())]
    problems = run_each(jobs)
    assert problems == [], "\n".join(problems)
