#!/usr/bin/env python3
"""`make demo`: a tour that ends by itself.

Starts the scripted backend and the daemon on ports of their own, shows what a
client sees in six situations, and exits 0 only if each was as it should be.
"""

import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DAEMON = os.environ.get("LLM_PROXYD", str(ROOT / "build/llm-proxyd"))
BACKEND = ROOT / "tests/scripted/backend.py"

TOKEN = "demo-key-123"
HASTY_TOKEN = "hasty-key-123"
HASTY_RPM = 2
MAX_BODY = 64 * 1024

HEADERS_SHOWN = (
    "content-type", "www-authenticate", "retry-after", "retry-after-ms",
    "x-request-id", "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
    "connection",
)
WIDTH = 100
EDGE = 4  # events shown at each end of a long stream


class Unexpected(Exception):
    """What a step saw is not what it should have seen."""


def expect(truth, sentence):
    if not truth:
        raise Unexpected(sentence)


def short(text, width=WIDTH):
    return text if len(text) <= width else text[: width - 4] + " ..."


class Answer:
    """One exchange, printed while it happens."""

    def __init__(self, port, model, token, stream=False, content="Hello!"):
        body = {"model": model}
        if stream:
            body["stream"] = True
        body["messages"] = [{"role": "user", "content": content}]
        payload = json.dumps(body, separators=(",", ":"))
        print(f"> POST /v1/chat/completions  Authorization: Bearer {token}")
        print(f"> {short(payload)}"
              + (f"  ({len(payload)} bytes)" if len(payload) > WIDTH else ""))

        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/v1/chat/completions", payload, {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        })
        response = connection.getresponse()
        self.status = response.status
        self.headers = response.headers
        print(f"< HTTP/1.1 {response.status} {response.reason}")
        for name in HEADERS_SHOWN:
            if name in response.headers:
                print(f"< {name}: {response.headers[name]}")

        self.events = []  # (seconds after the request, the event's lines)
        if self.header("content-type").startswith("text/event-stream"):
            self._read_events(response, started)
        else:
            self.text = response.read().decode()
            print(f"< {short(self.text, 3 * WIDTH)}")
        connection.close()

    def _read_events(self, response, started):
        lines = []
        for line in iter(response.readline, b""):
            line = line.decode().rstrip("\r\n")
            if line:
                lines.append(line)
                continue
            self.events.append((time.monotonic() - started, "\n".join(lines)))
            lines = []
        hidden = range(EDGE, len(self.events) - EDGE)
        for number, (seconds, event) in enumerate(self.events):
            if number not in hidden:
                # The envelope is the same in each event: shown once.
                if number > 0 and '"choices"' in event:
                    event = "data: {... " + event[event.index('"choices"'):]
                print(f"< {seconds:6.3f} s  {short(event, 2 * WIDTH)}")
            elif number == hidden[0]:
                print(f"<            ... {len(hidden)} more events ...")

    def header(self, name):
        return self.headers.get(name, "")

    def error_code(self):
        try:
            return json.loads(self.text)["error"]["code"]
        except (AttributeError, ValueError, LookupError, TypeError):
            raise Unexpected("the body is not an error in OpenAI's shape")

    def expect_error(self, status, code):
        expect(self.status == status, f"status {self.status}, not {status}")
        expect(self.error_code() == code,
               f"code {self.error_code()!r}, not {code!r}")


def streamed_chat(port, backend):
    answer = Answer(port, f"{backend}:demo", TOKEN, stream=True)
    expect(answer.status == 200, f"status {answer.status}, not 200")
    expect(answer.events, "not an event stream")
    expect(answer.events[-1][1] == "data: [DONE]", "it ends without [DONE]")
    text = ""
    for _, event in answer.events[:-1]:
        if event.startswith("data: "):
            for choice in json.loads(event[len("data: "):])["choices"]:
                text += choice["delta"].get("content") or ""
    expect(text, "it holds no text")
    first, last = answer.events[0][0], answer.events[-1][0]
    expect(last - first > 0.1, "all of it came at once")
    print(f"  read as: {text}")


def wrong_token(port):
    answer = Answer(port, "ollama:demo", "not-the-key")
    answer.expect_error(401, "invalid_api_key")
    expect(answer.header("www-authenticate"), "no WWW-Authenticate header")


def too_many(port):
    for _ in range(HASTY_RPM):
        answer = Answer(port, "ollama:demo", HASTY_TOKEN)
        expect(answer.status == 200, f"status {answer.status}, not 200")
    answer = Answer(port, "ollama:demo", HASTY_TOKEN)
    answer.expect_error(429, "rate_limit_exceeded")
    expect(1 <= int(answer.header("retry-after") or 0) <= 60,
           "no sensible Retry-After")


def too_large(port):
    answer = Answer(port, "vllm:demo", TOKEN, content="x" * MAX_BODY)
    answer.expect_error(413, "request_too_large")


def backend_gone(port, backend):
    stop(backend)
    answer = Answer(port, "vllm:demo", TOKEN)
    answer.expect_error(502, "backend_unreachable")


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def start_backend():
    """The process, and {"ollama": url, "vllm": url}."""
    process = subprocess.Popen(
        [sys.executable, BACKEND, "--ollama-port", "0", "--vllm-port", "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline().split() for _ in range(2)]
    if not all(lines):
        stop(process)
        sys.exit("demo: the scripted backend did not start")
    return process, dict(lines)


def start_daemon(folder, urls):
    """The process and its port."""
    tokens = [
        {"token": TOKEN, "label": "demo"},
        {"token": HASTY_TOKEN, "label": "hasty", "rpm": HASTY_RPM},
    ]
    config = pathlib.Path(folder) / "demo.conf"
    config.write_text(
        "LISTEN=127.0.0.1:0\n"
        f"OLLAMA_BASE_URL={urls['ollama']}\n"
        f"VLLM_BASE_URL={urls['vllm']}\n"
        f"MAX_BODY_BYTES={MAX_BODY}\n"
        f"TOKENS_JSON={json.dumps(tokens)}\n")
    config.chmod(0o600)
    # Settings in the caller's environment would win over the file.
    process = subprocess.Popen([DAEMON, "-c", config], text=True,
                               env={"PATH": os.environ.get("PATH", "")},
                               stderr=subprocess.PIPE)
    said = []
    for line in process.stderr:
        said.append(line)
        _, found, address = line.partition("listening on 127.0.0.1:")
        if found:
            return process, int(address.split()[0])
    stop(process)
    sys.exit("demo: the daemon did not start:\n" + "".join(said))


def main():
    if not os.access(DAEMON, os.X_OK):
        sys.exit(f"demo: {DAEMON} is not there; build it with 'make'")
    failed = 0
    processes = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            backend, urls = start_backend()
            processes.append(backend)
            daemon, port = start_daemon(folder, urls)
            processes.append(daemon)
            print(f"llm-proxyd listens on 127.0.0.1:{port}; both backends are"
                  " scripted, no model runs.")
            steps = [
                ("A streamed chat through Ollama's native API",
                 lambda: streamed_chat(port, "ollama")),
                ("A streamed chat through vLLM",
                 lambda: streamed_chat(port, "vllm")),
                ("401: a token nobody was given",
                 lambda: wrong_token(port)),
                (f"429: a token with {HASTY_RPM} requests per minute asks"
                 " three times", lambda: too_many(port)),
                (f"413: a body over MAX_BODY_BYTES={MAX_BODY}",
                 lambda: too_large(port)),
                ("502: the backend is stopped, then asked",
                 lambda: backend_gone(port, backend)),
            ]
            for number, (title, step) in enumerate(steps, 1):
                print(f"\n== {number}. {title}")
                try:
                    step()
                    print("  as expected")
                except (Unexpected, OSError, ValueError,
                        http.client.HTTPException) as error:
                    failed += 1
                    print(f"  NOT AS EXPECTED: {error!r}")
        finally:
            for process in reversed(processes):
                stop(process)
    print(f"\n{len(steps) - failed} of {len(steps)} steps as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())
