"""What the lint tests share."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("LLM_PROXY_BUILD",
                       os.path.join(ROOT, "build", "release"))
# What pip has installed beside this Python goes before the system's.
TOOLS = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
CACHE = os.path.join(ROOT, "build", "lint-cache")


def need(tool):
    """Skips where the tool is missing; check.py turns that into a failure
    under CI."""
    found = shutil.which(tool, path=TOOLS)
    if not found:
        pytest.skip(f"{tool} is not installed")
    return found


def run(command, **options):
    """(exit status, everything the command printed)"""
    done = subprocess.run(command, cwd=ROOT, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)
    return done.returncode, done.stdout


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as text:
        return text.read()


def files(tops, endings):
    """Paths below the folders `tops`, relative to the root."""
    found = []
    for top in tops:
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            found += [os.path.relpath(os.path.join(folder, name), ROOT)
                      for name in names if name.endswith(endings)]
    return sorted(found)


def key(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def run_each(jobs):
    """Runs (name, cache key, command) jobs, as many at a time as there are
    cores, and returns what the failing ones printed. A job that was clean
    before with the same key is not run again."""
    def one(job):
        name, digest, command = job
        mark = os.path.join(CACHE, digest)
        if os.path.exists(mark):
            os.utime(mark)
            return None
        status, text = run(command)
        if status != 0:
            return f"{name}:\n{text}"
        with open(mark, "w", encoding="ascii"):
            return None

    os.makedirs(CACHE, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return [text for text in pool.map(one, jobs) if text]


def compile_commands():
    """{source below src/: its compiler command}"""
    with open(os.path.join(BUILD, "compile_commands.json"),
              encoding="utf-8") as text:
        entries = json.load(text)
    commands = {}
    for entry in entries:
        path = os.path.relpath(
            os.path.join(entry["directory"], entry["file"]), ROOT)
        if path.startswith("src/"):
            commands.setdefault(path, entry["command"])
    return commands
