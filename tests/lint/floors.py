#!/usr/bin/env python3
"""Reads the #include lines of src/ and include/ and reports every one that
climbs a floor, that shows a library outside its room, or that the dialect
does without.

    tests/lint/floors.py [ROOT]
"""

import os
import re
import sys

FLOORS = {
    "base": 1,
    "http": 2, "json": 2,
    "config": 3, "adapt": 3,
    "loop": 4, "upstream": 4, "limit": 4,
    "proxy": 5,
    "daemon": 6, "ctl": 6,
}

# A library's headers, and the only files that may see them.
LIBRARIES = [
    (r"llhttp(/.*)?\.h", r"src/http/http_parser\.cc"),
    (r"jansson.*\.h", r"src/(json|adapt)/|include/llm_proxy/(json|adapt)/"),
    (r"openssl/.*", r"src/base/digest\.cc|src/limit/redis_tls\.cc"),
    (r"curl/.*", r"src/upstream/"),
    (r"hiredis/.*", r"src/limit/(redis_(connection|tls)|reply_reader)\.cc"),
    (r"event2/.*|event\.h|ev(dns|http|rpc|util)\.h", r"src/(loop|daemon)/"),
    (r"thread|future|condition_variable", r"src/daemon/"),
    (r"pthread\.h", r"src/daemon/|src/limit/limit_memory\.h"),
]

# What the dialect does without, wherever it stands.
BANNED = {
    "iostream", "istream", "ostream", "fstream", "sstream", "iomanip",
    "strstream", "regex", "locale", "clocale", "locale.h", "typeinfo",
    "any", "variant", "bits/stdc++.h",
}

# Everything else in <> is the C++ library (no dot), or the system's.
SYSTEM = re.compile(
    r"[a-z_]+|(sys|netinet|arpa|net|linux)/\w+\.h|"
    r"(dirent|dlfcn|errno|execinfo|fcntl|fnmatch|getopt|grp|ifaddrs|inttypes|"
    r"limits|netdb|poll|pwd|sched|signal|spawn|stdarg|stddef|stdint|stdio|stdlib|"
    r"string|strings|syslog|sysexits|termios|time|unistd)\.h")

INCLUDE = re.compile(r'^\s*#\s*include\s*(<([^>]+)>|"([^"]+)")')


def sources(root):
    """Paths below src/ and include/, relative to the root."""
    for top in ("src", "include"):
        for folder, _, names in sorted(os.walk(os.path.join(root, top))):
            for name in sorted(names):
                if name.endswith((".h", ".cc")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def room(path):
    """The floor's folder that a file lives in, or None."""
    match = re.match(r"(?:src|include/llm_proxy)/([^/]+)/[^/]+$", path)
    return match[1] if match and match[1] in FLOORS else None


def judge_system(path, header):
    if header in BANNED:
        return f"<{header}> is not used in this program (HACKING.md)"
    for pattern, rooms in LIBRARIES:
        if re.fullmatch(pattern, header):
            if re.match(rooms, path):
                return None
            return f"<{header}> may be seen only by {rooms}"
    if not SYSTEM.fullmatch(header):
        return f"<{header}> is no header that floors.py knows"
    return None


def judge_own(root, path, header):
    here = room(path)
    if "/" not in header:
        folder = os.path.dirname(path)
        if folder.startswith("include/"):
            return f'"{header}" needs its path from include/'
        target = os.path.join(folder, header)
    else:
        target = os.path.join("include", header)
        if not header.startswith("llm_proxy/") or ".." in header:
            return f'"{header}" is no door (llm_proxy/FLOOR/NAME.h)'
    if not os.path.exists(os.path.join(root, target)):
        return f'"{header}" does not exist as {target}'
    there = room(target)
    if there is None:
        return f"{target} is on no floor"
    if FLOORS[there] > FLOORS[here]:
        return (f'"{header}" climbs from {here} (floor {FLOORS[here]}) to '
                f"{there} (floor {FLOORS[there]})")
    return None


def check(root):
    """Returns a list of "file:line: message"."""
    problems = []
    for path in sources(root):
        if room(path) is None:
            problems.append(f"{path}:1: is on no floor")
            continue
        with open(os.path.join(root, path), encoding="utf-8",
                  errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                if match[2]:
                    why = judge_system(path, match[2])
                else:
                    why = judge_own(root, path, match[3])
                if why:
                    problems.append(f"{path}:{number}: {why}")
    return problems


if __name__ == "__main__":
    found = check(sys.argv[1] if len(sys.argv) > 1 else ".")
    print("\n".join(found) or "floors: clean")
    sys.exit(1 if found else 0)
