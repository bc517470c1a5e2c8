"""Reads a profile of callgrind's: instructions by floor and library, and how
often memory was asked for. The format: valgrind's manual, cl-format."""

import collections
import re

FLOORS = {"daemon", "proxy", "limit", "upstream", "loop", "adapt", "config",
          "json", "http", "base"}
LIBRARIES = {"libcurl": "libcurl", "libevent": "libevent", "libc.": "libc",
             "libstdc++": "libstdc++", "libcrypto": "libcrypto"}
ALLOCATORS = {"malloc", "calloc", "realloc"}
# Which table of names a key's value is in.
KINDS = {"ob": "object", "cob": "object", "fl": "file", "fi": "file",
         "fe": "file", "cfi": "file", "cfl": "file", "fn": "function",
         "cfn": "function"}


def place(library, file):
    """The floor or the library that some instructions belong to."""
    floor = re.search(r"(?:src|include/llm_proxy)/(\w+)/[\w.]+$", file)
    if floor and floor[1] in FLOORS:
        return floor[1]
    if "llhttp" in file:
        return "llhttp"
    name = library.rpartition("/")[2]
    for prefix, known in LIBRARIES.items():
        if name.startswith(prefix):
            return known
    # Headers of the language, compiled into ours.
    return "libstdc++" if name.startswith("llm-proxyd") else "others"


def read_profile(path):
    """({place: instructions}, calls of the allocator)"""
    places = collections.Counter()
    allocations = 0
    names = collections.defaultdict(dict)
    now = collections.defaultdict(str)  # what the keys were last
    inclusive = False  # the next line is a call's cost, counted elsewhere
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, _, value = line.rstrip("\n").partition("=")
            if key in KINDS:
                number, _, name = value.partition(" ")
                known = names[KINDS[key]]
                known[number] = name or known[number]
                now["file" if key in ("fi", "fe") else key] = known[number]
                if key == "fl":
                    now["file"] = known[number]
            elif key == "calls":
                # The allocator calls itself, too.
                if now["cfn"] in ALLOCATORS and now["fn"] not in ALLOCATORS:
                    allocations += int(value.split()[0])
                inclusive = True
            elif re.match(r"[+*-]?\d* \d+$", line):
                if not inclusive:
                    places[place(now["ob"], now["file"])] += int(
                        line.split()[1])
                inclusive = False
    return places, allocations
