"""`make run` and `make demo`: the scripts behind them, as a newcomer meets
them."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = ROOT / "tests/demo/run.sh"
TOUR = ROOT / "tests/demo/tour.py"
NOWHERE = "http://127.0.0.1:1"
SECONDS = 60


def test_tour():
    done = subprocess.run([sys.executable, TOUR], capture_output=True,
                          text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    for seen in ("HTTP/1.1 200 OK", "text/event-stream", "data: [DONE]",
                 "HTTP/1.1 401 Unauthorized", "invalid_api_key",
                 "HTTP/1.1 429 Too Many Requests", "retry-after: ",
                 "HTTP/1.1 413", "request_too_large",
                 "HTTP/1.1 502 Bad Gateway", "backend_unreachable",
                 "6 of 6 steps as expected"):
        assert seen in done.stdout, f"{seen!r} is not in\n{done.stdout}"
    assert done.stdout.count("data: [DONE]") == 2


def test_tour_without_a_daemon():
    done = subprocess.run([sys.executable, TOUR], capture_output=True,
                          text=True, timeout=SECONDS,
                          env={**os.environ, "LLM_PROXYD": "/bin/false"})
    assert done.returncode == 1
    assert "the daemon did not start" in done.stderr


class Run:
    """run.sh in a process group of its own, as a terminal runs it."""

    def __init__(self, port, **environment):
        self.port = port
        self.process = subprocess.Popen(
            [RUN], text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PORT": str(port), "OLLAMA_BASE_URL": NOWHERE,
                 "VLLM_BASE_URL": NOWHERE, **environment})
        self.said = ""

    def wait_until_it_listens(self):
        for line in self.process.stdout:
            self.said += line
            if f"listening on 127.0.0.1:{self.port}" in line:
                return
        pytest.fail(f"it ended:\n{self.said}")

    def wait(self):
        """Its exit status, when nobody holds its output any more: a process
        left behind would."""
        rest, _ = self.process.communicate(timeout=SECONDS)
        self.said += rest
        return self.process.returncode

    def interrupt(self):
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()


@pytest.fixture
def run():
    started = []

    def start(port=None, **environment):
        if port is None:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
        started.append(Run(port, **environment))
        return started[-1]

    yield start
    for one in started:
        try:
            os.killpg(one.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        one.process.communicate()


def test_run_without_a_model_server(run):
    demo = run()
    demo.wait_until_it_listens()
    assert demo.said.count("SCRIPTED backend") == 2

    [curl] = re.findall(r"^curl .*$", demo.said, re.M)
    done = subprocess.run(["sh", "-c", curl], capture_output=True, text=True,
                          timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("data: [DONE]\n\n")

    [example] = re.findall(r"^from openai import .*?\n\n", demo.said,
                           re.M | re.S)
    assert len(example.splitlines()) == 6  # five and the blank one
    done = subprocess.run([sys.executable, "-c", example],
                          capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert "scripted" in done.stdout

    demo.interrupt()
    assert "Traceback" not in demo.said
    assert "warning" not in demo.said


def test_run_with_a_model_server(run, moods):
    demo = run(OLLAMA_BASE_URL=moods.url)
    demo.wait_until_it_listens()
    assert f"OLLAMA: using the server at {moods.url}" in demo.said
    assert demo.said.count("SCRIPTED backend") == 1
    demo.interrupt()


def test_run_when_it_is_killed(run):
    demo = run()
    demo.wait_until_it_listens()
    demo.process.kill()
    assert demo.wait() == -signal.SIGKILL


def test_run_when_the_port_is_taken(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = run(port)
        assert demo.wait() == 71
    assert f"already listens on 127.0.0.1:{port}" in demo.said
    assert "PORT=" in demo.said


def test_run_with_a_wrong_setting(run):
    demo = run(PORT="eighty")
    assert demo.wait() == 78
    assert "PORT" in demo.said
