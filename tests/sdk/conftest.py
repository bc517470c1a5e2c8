"""Fixtures of the SDK suites: one backend, and a daemon with WORKERS=1 and
one with WORKERS=4, each kept for all tests."""

import pathlib
import sys
import uuid

import openai
import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "harness"), str(TESTS / "scripted")]

# pylint: disable=wrong-import-position
from daemon import TOKEN, Daemon  # noqa: E402
from moods import Moods  # noqa: E402


def token(name, **fields):
    return {"token": name, "label": name, **fields}


TOKENS = [
    token(TOKEN, rpm=100_000),
    token("disabled", disabled=True),
    token("only-vllm", models=["vllm:*"]),
    # One for each test that uses a limit up.
    *(token(f"{language}-minute-{backend}", rpm=1)
      for language in ("python", "node") for backend in ("ollama", "vllm")),
    *(token(f"{language}-day", rpd=1) for language in ("python", "node")),
]


class Proxy(Daemon):
    """The daemon as the SDKs meet it."""

    def __init__(self, folder, **settings):
        super().__init__(folder, tokens=TOKENS, MAX_BODY_BYTES="256k",
                         **settings)
        self.url = f"http://127.0.0.1:{self.port}"

    def client(self, api_key=TOKEN):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=api_key)

    def async_client(self):
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=TOKEN)

    def advance(self, ms):
        # The Node tests move the clock as well.
        if self.clock_path.exists():
            self.clock_ms = int(self.clock_path.read_text())
        super().advance(ms)


@pytest.fixture(scope="session")
def moods():
    backend = Moods()
    yield backend
    backend.stop()


@pytest.fixture(scope="session", params=[1, 4], ids="workers{}".format)
def proxy(request, moods, tmp_path_factory):
    daemon = Proxy(tmp_path_factory.mktemp("proxy"), WORKERS=request.param,
                   OLLAMA_BASE_URL=moods.url, VLLM_BASE_URL=moods.url)
    yield daemon
    daemon.stop()


@pytest.fixture
def lonely_proxy(tmp_path):
    """A daemon whose backends refuse connections: nothing listens there."""
    daemon = Proxy(tmp_path)
    yield daemon
    daemon.stop()


@pytest.fixture
def client(proxy):
    with proxy.client() as sdk:
        yield sdk


@pytest.fixture
def own_model():
    """A model name that only this test uses, see moods.py."""
    return lambda mood: f"{mood}-{uuid.uuid4()}"
