"""Fixtures of the SDK suites: one backend, and five proxies before it, each
kept for all tests: a daemon with WORKERS=1, one with WORKERS=4, and the three
shapes of nginx/."""

import pathlib
import shutil
import sys
import tempfile
import uuid

import openai
import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "harness"), str(TESTS / "scripted")]

# pylint: disable=wrong-import-position
from daemon import TOKEN, Daemon  # noqa: E402
from moods import Moods  # noqa: E402
from nginx import SHAPES, Nginx  # noqa: E402


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

    def is_straight(self, _backend):
        """Whether the answer is the backend's own, past the daemon."""
        return False

    def client(self, api_key=TOKEN):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=api_key)

    def async_client(self):
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=TOKEN)

    def advance(self, ms):
        # The Node tests move the clock as well.
        if self.clock_path.exists():
            self.clock_ms = int(self.clock_path.read_text())
        super().advance(ms)


class BehindNginx(Proxy):
    """The same daemon behind nginx as shipped, in one of its shapes."""

    def __init__(self, folder, shape, vllm, **settings):
        self.shape = shape
        self.nginx = None
        # Not pytest's, whose names are too long for socket files.
        self.sockets = tempfile.mkdtemp(prefix="llmp-")
        path = f"{self.sockets}/http.sock"
        super().__init__(folder, LISTEN=f"unix:{path}", WORKERS=4,
                         ACCEL_REDIRECT="all", **settings)
        self.nginx = Nginx(path, vllm, edit=lambda text: text.replace(
            "client_max_body_size 20m;", "client_max_body_size 256k;"))
        self.port = self.nginx.port[shape]
        self.url = f"http://127.0.0.1:{self.port}"

    def is_straight(self, backend):
        return self.shape == "redirect" and backend == "vllm"

    def stop(self):
        shutil.rmtree(self.sockets)
        if self.nginx:
            self.nginx.stop()
        super().stop()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        # All tests of one proxy in one process, which alone has that proxy.
        spec = getattr(item, "callspec", None)
        group = str(spec.params.get("proxy", "none") if spec else "none")
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def moods():
    backend = Moods()
    yield backend
    backend.stop()


def name_of(proxy_kind):
    return proxy_kind if proxy_kind in SHAPES else f"workers{proxy_kind}"


@pytest.fixture(scope="session", params=[1, 4, *SHAPES], ids=name_of)
def proxy(request, moods, tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxy")
    urls = {"OLLAMA_BASE_URL": moods.url, "VLLM_BASE_URL": moods.url}
    if request.param in SHAPES:
        daemon = BehindNginx(folder, request.param,
                             f"127.0.0.1:{moods.port}", **urls)
    else:
        daemon = Proxy(folder, WORKERS=request.param, **urls)
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
