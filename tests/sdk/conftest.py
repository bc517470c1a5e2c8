"""Fixtures of the SDK suites: one backend, and a daemon with WORKERS=1 and
one with WORKERS=4, each kept for all tests."""

import json
import os
import pathlib
import re
import subprocess
import time
import uuid

import openai
import pytest

from moods import Moods

ROOT = pathlib.Path(__file__).resolve().parents[2]
DAEMON = os.environ.get("LLM_PROXYD", str(ROOT / "build/llm-proxyd-test"))
MAIN_TOKEN = "demo-key-123"  # README's
START_SECONDS = 20
STOP_SECONDS = 20
SANITIZER_REPORT = re.compile(
    r"ERROR: AddressSanitizer|LeakSanitizer|runtime error:"
    r"|WARNING: ThreadSanitizer")


def token(name, **fields):
    return {"token": name, "label": name, **fields}


TOKENS = [
    token(MAIN_TOKEN, rpm=100_000),
    token("disabled", disabled=True),
    token("only-vllm", models=["vllm:*"]),
    # One for each test that uses a limit up.
    *(token(f"{language}-minute-{backend}", rpm=1)
      for language in ("python", "node") for backend in ("ollama", "vllm")),
    *(token(f"{language}-day", rpd=1) for language in ("python", "node")),
]


class Proxy:
    """The daemon as the SDKs meet it."""

    def __init__(self, folder, **settings):
        self.clock_file = folder / "clock"
        self.advance(0)
        self._log = folder / "stderr"
        config = folder / "llm-proxy.conf"
        settings.update(LISTEN="127.0.0.1:0", MAX_BODY_BYTES="256k",
                        DRAIN_TIMEOUT="1s", TOKENS_JSON=json.dumps(TOKENS))
        config.write_text("".join(f"{name}={value}\n"
                                  for name, value in settings.items()))
        config.chmod(0o600)
        # Settings in the caller's environment would win over the file.
        environment = {name: value for name, value in os.environ.items()
                       if name == "PATH" or name.endswith("SAN_OPTIONS")}
        environment["LLM_PROXY_CLOCK_FILE"] = str(self.clock_file)
        with self._log.open("w") as log:
            self._process = subprocess.Popen([DAEMON, "-c", config],
                                             env=environment, stderr=log)
        self.port = self._wait_for_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def _wait_for_port(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)",
                              self._log.read_text())
            if found:
                return int(found[1])
            time.sleep(0.01)
        self._process.kill()
        raise RuntimeError(f"{DAEMON} did not start:\n"
                           + self._log.read_text())

    def client(self, api_key=MAIN_TOKEN):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=api_key)

    def async_client(self):
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1",
                                  api_key=MAIN_TOKEN)

    def advance(self, ms):
        """Moves the daemon's clock on. It must never read half a file: time
        would go backwards. The Node tests move it as well."""
        if self.clock_file.exists():
            ms += int(self.clock_file.read_text())
        following = self.clock_file.with_suffix(".next")
        following.write_text(f"{ms}\n")
        following.replace(self.clock_file)

    def stop(self):
        self._process.terminate()
        try:
            status = self._process.wait(STOP_SECONDS)
        finally:
            self._process.kill()
        log = self._log.read_text()
        assert status == 0, f"exit status {status}:\n{log}"
        assert not SANITIZER_REPORT.search(log), log


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
    nowhere = "http://127.0.0.1:1"
    daemon = Proxy(tmp_path, OLLAMA_BASE_URL=nowhere, VLLM_BASE_URL=nowhere)
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
