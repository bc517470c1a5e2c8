"""The picture of the six floors stays true, and the check that says so can
fail."""

import os

import floors
import pytest
from tools import ROOT


def test_the_house_is_clean():
    assert floors.check(ROOT) == []


def test_every_floor_is_looked_at():
    seen = {floors.room(path) for path in floors.sources(ROOT)}
    assert seen == set(floors.FLOORS)


def house(tmp_path, path, text):
    """A small house with one door on each floor and one file under test."""
    for name in floors.FLOORS:
        folder = tmp_path / "include" / "llm_proxy" / name
        folder.mkdir(parents=True)
        (folder / "door.h").write_text("")
    target = tmp_path / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return floors.check(str(tmp_path))


BAD = [
    ("src/base/a.cc", '#include "llm_proxy/http/door.h"\n', "climbs"),
    ("src/json/a.cc", '#include "llm_proxy/config/door.h"\n', "climbs"),
    ("include/llm_proxy/limit/a.h", '#include "llm_proxy/proxy/door.h"\n',
     "climbs"),
    ("src/proxy/a.cc", '#  include "llm_proxy/daemon/door.h"\n', "climbs"),
    ("src/proxy/a.cc", '#include "../daemon/main.h"\n', "no door"),
    ("src/proxy/a.cc", '#include "missing.h"\n', "does not exist"),
    ("src/proxy/a.cc", "#include <curl/curl.h>\n", "only by"),
    ("src/http/url.cc", "#include <llhttp.h>\n", "only by"),
    ("src/config/tokens.cc", "#include <jansson.h>\n", "only by"),
    ("src/proxy/a.cc", "#include <event2/event.h>\n", "only by"),
    ("src/limit/memory.cc", "#include <hiredis/async.h>\n", "only by"),
    ("src/base/ids.cc", "#include <openssl/rand.h>\n", "only by"),
    ("src/loop/a.cc", "#include <thread>\n", "only by"),
    ("src/daemon/a.cc", "#include <iostream>\n", "not used"),
    ("src/daemon/a.cc", "#include <zlib.h>\n", "knows"),
    ("src/attic/a.cc", "\n", "on no floor"),
    ("src/a.cc", "\n", "on no floor"),
]


@pytest.mark.parametrize("path,text,words", BAD)
def test_a_fault_is_found(tmp_path, path, text, words):
    problems = house(tmp_path, path, text)
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"{path}:1: ")
    assert words in problems[0]


GOOD = [
    ("src/proxy/a.cc", '#include "llm_proxy/loop/door.h"\n'),
    ("src/proxy/a.cc", '#include "llm_proxy/proxy/door.h"\n'),
    ("src/daemon/a.cc", "#include <thread>\n"),
    ("src/daemon/a.cc", '#include "llm_proxy/base/door.h"\n'),
    ("src/http/http_parser.cc", "#include <llhttp.h>\n"),
    ("src/upstream/pool.cc", "#include <curl/curl.h>\n"),
    ("src/upstream/pool.cc", "#include <sys/socket.h>\n"),
    ("src/base/a.cc", "#include <string>\n#include <unistd.h>\n"),
    ("src/base/a.cc", '// #include "llm_proxy/daemon/door.h"\n'),
]


@pytest.mark.parametrize("path,text", GOOD)
def test_what_is_allowed_passes(tmp_path, path, text):
    assert house(tmp_path, path, text) == []


def test_a_private_header_counts_as_its_floor(tmp_path):
    (tmp_path / "src" / "proxy").mkdir(parents=True)
    (tmp_path / "src" / "proxy" / "own.h").write_text("")
    assert house(tmp_path, "src/proxy/a.cc", '#include "own.h"\n') == []
    assert os.path.exists(tmp_path / "src" / "proxy" / "own.h")
