"""Streams and large bodies through nginx as shipped, in all shapes, over
HTTP/1.1 and HTTP/2."""

import base64
import hashlib
import json
import shutil
import subprocess
import threading
import time

import pytest
from daemon import SLOW, TOKEN
from nginx import SHAPES
from raw import chat, request

pytestmark = pytest.mark.nginx
EACH_SHAPE = pytest.mark.parametrize("shape", SHAPES)
PIECES = 20
GAP = 0.05
SECOND = 0.03  # of scaled timeouts


def event(text):
    return {"id": "c", "object": "chat.completion.chunk", "created": 1,
            "model": "m", "choices": [{"index": 0, "delta": {"content": text},
                                       "finish_reason": None}]}


def finish(peer):
    peer.sse("[DONE]")
    peer.end()


@EACH_SHAPE
@pytest.mark.parametrize("wire", ["ollama", "vllm"])
def test_no_piece_is_held(site, shape, wire):
    """From the backend's write to the client's read, on a busy machine: the
    fastest half within 10 ms, none as late as the next piece."""
    written = []

    def handler(request_, peer):
        if wire == "vllm":
            peer.sse_head()
        else:
            peer.ndjson_head()
        for number in range(PIECES):
            written.append(time.monotonic())
            if wire == "vllm":
                peer.sse(event(str(number)))
            else:
                peer.line({"model": "m", "created_at": "2026-11-24T10:00:00Z",
                           "message": {"role": "assistant",
                                       "content": str(number)},
                           "done": False})
            peer.pause(GAP)
        if wire == "vllm":
            finish(peer)
        else:
            peer.line({"model": "m", "created_at": "2026-11-24T10:00:00Z",
                       "message": {"role": "assistant", "content": ""},
                       "done": True, "done_reason": "stop"})
            peer.end()
        del request_

    at = site(handler)
    with at.client(shape) as client:
        answer = client.ask(body=chat(f"{wire}:m", stream=True))
    assert answer.status == 200
    assert answer.header("Content-Type").startswith("text/event-stream")
    assert answer.header("Cache-Control") == "no-cache"
    assert answer.header("X-Accel-Buffering") == "no"
    assert at.straight() == (shape == "redirect" and wire == "vllm")
    arrived = {}
    for when, data in answer.pieces:
        for number in range(PIECES):
            if f'"content":"{number}"' in data.decode().replace(": ", ":"):
                arrived.setdefault(number, when)
    assert len(arrived) == PIECES
    late = sorted(arrived[number] - written[number]
                  for number in range(PIECES))
    assert late[PIECES // 2] < 0.010 * SLOW, late
    assert late[-1] < GAP * SLOW, late


@EACH_SHAPE
def test_comments_pass_a_long_silence(site, shape):
    """All timeouts scaled down alike, the daemon's as nginx's. The model is
    silent for longer than any of them but those for a model's answer."""
    def handler(_request, peer):
        peer.sse_head()
        peer.pause(80 * SECOND)
        peer.sse(event("late"))
        finish(peer)

    scaled = {name: f"{seconds * SECOND * 1000:.0f}ms" for name, seconds in (
        ("SSE_KEEPALIVE", 15), ("FIRST_BYTE_TIMEOUT", 600),
        ("STREAM_IDLE_TIMEOUT", 300), ("HEAD_TIMEOUT", 10),
        ("BODY_TIMEOUT", 30), ("WRITE_TIMEOUT", 60),
        ("KEEPALIVE_TIMEOUT", 75))}
    at = site(handler, scale=1000 * SECOND, DEFAULT_BACKEND="vllm", **scaled)
    # Prefixed, so that it passes through the daemon in each shape.
    at.daemon.write_config(ACCEL_REDIRECT="bare")
    at.daemon.reload()
    answer = at.ask(shape, body=chat("vllm:m" if shape != "oracle" else "m",
                                     stream=True),
                    headers=["X-Model: ollama:m"])
    assert answer.status == 200 and not at.straight()
    assert answer.body.count(b": keep-alive\n\n") >= 5
    assert answer.events[-1] == "[DONE]"


@pytest.mark.parametrize("shape", ["oracle", "redirect"])
def test_a_long_silence_of_vllm_itself(site, shape):
    def handler(_request, peer):
        peer.pause(80 * SECOND)
        peer.sse_head()
        peer.sse(event("late"))
        finish(peer)

    at = site(handler, scale=1000 * SECOND, DEFAULT_BACKEND="vllm")
    answer = at.ask(shape, body=chat("m", stream=True))
    assert at.straight() and answer.events[-1] == "[DONE]"


@EACH_SHAPE
@pytest.mark.parametrize("phase", ["silent", "streaming"])
@pytest.mark.parametrize("model", ["ollama:m", "vllm:m"])
def test_a_client_that_leaves_frees_the_backend(site, shape, phase, model):
    gone = []
    over = threading.Event()

    def handler(_request, peer):
        if phase == "streaming":
            if model == "vllm:m":
                peer.sse_head()
                peer.sse(event("x"))
            else:
                peer.ndjson_head()
                peer.line({"model": "m", "message": {
                    "role": "assistant", "content": "x"}, "done": False})
        gone.append(peer.wait_closed(30))
        over.set()
        peer.close()

    at = site(handler)
    with at.client(shape) as client:
        client.send(request(body=chat(model, stream=True)))
        at.behind.wait_requests(1)
        if phase == "streaming":
            answer = client.head()
            client.chunk(answer)
        left = time.monotonic()
    assert over.wait(10 * SLOW)
    assert gone[0] and gone[0] - left < 0.1 * SLOW
    at.nginx.wait_access('"cause":"%s"' % (
        "cut" if phase == "streaming" else "client_gone"))


def image_chat(size):
    picture = base64.b64encode(hashlib.sha256(b"x").digest() * (size // 32))
    return {"model": "", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {
            "url": "data:image/png;base64," + picture.decode()}}]}]}


@EACH_SHAPE
@pytest.mark.parametrize("framed", ["length", "chunked"])
def test_20_mib(site, shape, framed):
    """The largest body that the daemon takes, with the redirect from a
    file of nginx's, as the backend it is sent to sees it."""
    body = image_chat(15 * 1024 * 1024 - 4096)
    body["model"] = "vllm:m"
    data = json.dumps(body).encode()
    assert 19.9 < len(data) / (1 << 20) < 20
    at = site(lambda _request, peer: peer.whole({"ok": 1}))
    with at.client(shape, timeout=60) as client:
        if framed == "length":
            client.send(request(body=data))
        else:
            head = request().replace(b"GET", b"POST")[:-2]
            client.send(head + b"Content-Type: application/json\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(data), 1 << 20):
                part = data[start:start + (1 << 20)]
                client.send(b"%x\r\n%s\r\n" % (len(part), part))
            client.send(b"0\r\n\r\n")
        assert client.answer().json == {"ok": 1}, at.nginx.log
    got = at.behind.requests[0].body
    if at.straight():
        assert got == data
    else:
        body["model"] = "m"
        assert json.loads(got) == body


# HTTP/2 on the client's side, over TLS

CURL = shutil.which("curl")


def curl(at, shape, *arguments, body=None, token=TOKEN):
    """(what curl wrote, as text); fails if it was not HTTP/2."""
    command = [CURL, "-sS", "--http2", "--cacert", at.nginx.certificate, "-N",
               "-w", "\n%{http_version} %{http_code}",
               "-H", f"Authorization: Bearer {token}", *arguments]
    if body is not None:
        command += ["-H", "Content-Type: application/json",
                    "--data-binary", "@-"]
    command.append(f"https://127.0.0.1:{at.nginx.tls[shape]}"
                   "/v1/chat/completions")
    done = subprocess.run(command, check=False, capture_output=True,
                          timeout=60 * SLOW,
                          input=None if body is None else
                          json.dumps(body).encode())
    text, _, last = done.stdout.decode().rpartition("\n")
    version, status = last.split(" ")
    assert version == "2", (done.stderr, text)
    return int(status), text


@EACH_SHAPE
def test_http2(site, shape):
    def handler(request_, peer):
        if request_.json.get("stream"):
            peer.sse_head()
            peer.sse(event("x"))
            finish(peer)
        else:
            peer.whole({"ok": len(request_.body)})

    at = site(handler)
    assert curl(at, shape, body=chat("vllm:m"))[0] == 200
    status, text = curl(at, shape, body=chat("vllm:m", stream=True))
    assert status == 200 and text.rstrip().endswith("data: [DONE]")
    status, text = curl(at, shape, body=chat("vllm:m"), token="nobody")
    assert status == 401
    assert json.loads(text)["error"]["code"] == "invalid_api_key"
    status, text = curl(at, shape)
    assert status == 405 and json.loads(text)["error"]
    body = image_chat(15 * 1024 * 1024 - 4096)
    body["model"] = "vllm:m"
    status, text = curl(at, shape, body=body)
    assert status == 200 and json.loads(text)["ok"] > 19 << 20
    body = image_chat(16 * 1024 * 1024)
    status, text = curl(at, shape, body=body)
    assert status == 413
    assert json.loads(text)["error"]["code"] == "request_too_large"


@EACH_SHAPE
def test_http2_streams_and_leaves(site, shape):
    """Two answers on one connection; the first piece comes before the second
    is written, and the end of curl is the end of both backends."""
    gone = []
    both = threading.Barrier(3)

    def handler(_request, peer):
        peer.sse_head()
        peer.sse(event("first"))
        both.wait(20 * SLOW)
        gone.append(peer.wait_closed(30))
        both.wait(20 * SLOW)
        peer.close()

    at = site(handler)
    url = f"https://127.0.0.1:{at.nginx.tls[shape]}/v1/chat/completions"
    common = ["--http2", "--cacert", str(at.nginx.certificate), "-sSN",
              "-H", f"Authorization: Bearer {TOKEN}",
              "-d", json.dumps(chat("vllm:m", stream=True)),
              "-H", "Content-Type: application/json", url]
    process = subprocess.Popen(
        [CURL, "--parallel", "--parallel-immediate", *common, "--next",
         *common], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        both.wait(20 * SLOW)
        seen = b""
        while seen.count(b"first") < 2:
            data = process.stdout.read1(65536)
            assert data, seen
            seen += data
    finally:
        process.kill()
        left = time.monotonic()
        process.wait()
        process.stdout.close()
    both.wait(20 * SLOW)
    assert all(when and when - left < 0.1 * SLOW for when in gone)
