"""Fixtures: backends that do what the test says, and daemons."""

import json
import pathlib
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / name) for name in
                ("harness", "scripted", "reference")]

# pylint: disable=wrong-import-position
from backend import Backend  # noqa: E402
from daemon import TOKEN, Daemon, run_daemon  # noqa: E402
from nginx import Nginx, Site  # noqa: E402
from store import FakeRedis, Redis  # noqa: E402


@pytest.fixture
def backend():
    """A factory of backends: backend(handler) speaks as the handler does,
    without one as both demo wires. Stopped with the test."""
    made = []

    def make(handler=None, **named):
        made.append(Backend(handler, **named))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def redis():
    """A factory of redis-servers: redis(setting=value, ...), with an
    identity of certs.py for TLS."""
    made = []

    def make(*identity, **settings):
        made.append(Redis(*identity, **settings))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def fake_redis():
    """A factory of servers that lie: fake_redis(answer)."""
    made = []

    def make(*answer, **named):
        made.append(FakeRedis(*answer, **named))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def daemon(tmp_path):
    """A factory of daemons: daemon(SETTING=value, ...). Ended with the test,
    which fails if one did not end cleanly."""
    made = []

    def make(**named):
        folder = tmp_path / f"daemon{len(made)}"
        folder.mkdir()
        made.append(Daemon(folder, **named))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture(params=[1, 4], ids="workers{}".format)
def workers(request):
    return request.param


@pytest.fixture
def proxy(daemon, backend):
    """proxy(handler, SETTING=value): a daemon with one backend on both
    wires; returns both."""

    def make(handler=None, **named):
        behind = backend(handler)
        return daemon(OLLAMA_BASE_URL=behind.url, VLLM_BASE_URL=behind.url,
                      **named), behind

    return make


@pytest.fixture
def connect(tmp_path):
    """connect(url, SETTING=value): the exit code and the words of
    -t --connect for that store."""
    def run(url, **settings):
        path = tmp_path / "c.conf"
        lines = {"RATE_LIMIT_STORE": "redis", "REDIS_URL": url,
                 "TOKENS_JSON": json.dumps([{"token": TOKEN, "label": "a"}]),
                 **settings}
        path.write_text("".join(f"{name}={value}\n"
                                for name, value in lines.items()))
        path.chmod(0o600)
        code, _, err = run_daemon("-t", "--connect", "-c", path)
        return code, err
    return run


@pytest.fixture
def site(daemon, backend):
    """site(handler, SETTING=value): nginx before a daemon before one backend
    on both wires; see harness/nginx.py."""
    made = []

    def make(handler=None, scale=None, edit=None, **settings):
        behind = backend(handler)
        made.append(Site(daemon, behind))
        made[-1].start(scale, edit, **settings)
        return made[-1]

    yield make
    for each in made:
        each.stop()
