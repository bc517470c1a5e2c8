"""Every cause of failure behind the proxy, provoked for real, and what the
client is told: design decision 7, the table of protocol errors."""

import concurrent.futures
import socket
import ssl
import subprocess
import threading
import time

import pytest
from daemon import SLOW
from raw import ask, chat

BOTH = pytest.mark.parametrize("model", ["vllm:m", "ollama:m"])


def expect(answer, status, code, retry_after=None):
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.error["type"] == "server_error" or status < 500
    assert answer.header("Retry-After") == retry_after
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("X-Request-Id")


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_refused(daemon, model, stream):
    answer = ask(daemon().port, body=chat(model, stream))
    expect(answer, 502, "backend_unreachable", "1")


def test_unknown_host(daemon):
    one = daemon(VLLM_BASE_URL="http://no-such-host.invalid:1")
    answer = ask(one.port, body=chat())
    expect(answer, 502, "backend_unreachable", "1")
    assert "invalid" not in answer.body.decode().replace("invalid_", "")


@pytest.mark.parametrize("base", ["http", "https"])
def test_black_holed_connection_has_a_limit(daemon, base):
    # A full accept queue: the kernel drops further SYNs.
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
            fillers.append(filler)
        url = f"{base}://127.0.0.1:{hole.getsockname()[1]}"
        one = daemon(VLLM_BASE_URL=url, CONNECT_TIMEOUT="300ms")
        begin = time.monotonic()
        answer = ask(one.port, body=chat())
        expect(answer, 504, "backend_timeout")
        assert time.monotonic() - begin < 3 * SLOW
        for filler in fillers:
            filler.close()


@BOTH
def test_silent_backend(proxy, model):
    daemon, _ = proxy(lambda _r, peer: peer.wait_closed(20),
                      FIRST_BYTE_TIMEOUT="200ms")
    answer = ask(daemon.port, body=chat(model))
    expect(answer, 504, "backend_timeout")
    # It may have generated all the time, and would begin anew.
    assert answer.header("x-should-retry") == "false"


@BOTH
@pytest.mark.parametrize("ending", ["close", "reset"])
def test_closed_before_an_answer(proxy, model, ending):
    daemon, behind = proxy(lambda _r, peer: getattr(peer, ending)())
    answer = ask(daemon.port, body=chat(model))
    expect(answer, 502, "backend_unreachable")
    # The connection was fresh: the request is not sent again, by nobody.
    assert answer.header("x-should-retry") == "false"
    assert len(behind.requests) == 1


JUNK = {
    "no http": b"\x16\x03\x01 SMTP ready\r\n\r\n",
    "http/2 label": b"HTTP/2 200\r\n\r\n{}",
    "huge head": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 300_000
                 + b"\r\n\r\n",
    "flood of 1xx": b"HTTP/1.1 102 Wait\r\nX: 1\r\n\r\n" * 20_000,
    "gzip coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked"
                   b"\r\n\r\n0\r\n\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
                b"Content-Length: 0\r\n\r\n",
    "gzip body": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                 b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "html error": b"HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\n"
                  b"Content-Length: 6\r\n\r\n<html>",
}


@BOTH
@pytest.mark.parametrize("junk", JUNK, ids=lambda name: name)
def test_junk(proxy, model, junk):
    def handler(_request, peer):
        peer.send(JUNK[junk])
        peer.close()

    answer = ask(proxy(handler)[0].port, body=chat(model))
    # An Ollama's 500 is the model's, whatever its text looks like.
    own = junk == "html error" and model == "ollama:m"
    assert (answer.status, answer.error["code"]) == (
        (500, "backend_error") if own else (502, "backend_bad_response"))
    assert answer.error["code"].startswith("backend_")
    assert "<html>" not in answer.body.decode()


def ollama_body(body, status=200, **more):
    return lambda _r, peer: peer.whole(body, status=status, **more)


@pytest.mark.parametrize("body", [b"{bad", b"[]", b"{}", b"\xff\xfe"])
def test_wrong_json_from_ollama(proxy, body):
    daemon, _ = proxy(ollama_body(body))
    answer = ask(daemon.port, body=chat("ollama:m"))
    assert answer.status == 502
    assert answer.error["code"] in ("backend_bad_response", "backend_error")


def test_an_empty_success_of_ollama_is_a_failure(proxy):
    daemon, _ = proxy(ollama_body(b""))
    for stream in (False, True):
        answer = ask(daemon.port, body=chat("ollama:m", stream))
        assert answer.status == 502
        assert answer.header("x-should-retry") == "false"


def test_an_oversized_line_is_cut_off(proxy):
    def handler(_request, peer):
        peer.ndjson_head()
        for _ in range(100):
            peer.chunk(b"x" * 1_000_000)

    daemon, _ = proxy(handler)
    answer = ask(daemon.port, body=chat("ollama:m", True))
    expect(answer, 502, "backend_bad_response", "1")
    assert daemon.rss_anon_kib() < 80_000 * SLOW


@pytest.mark.parametrize("status, sent, expected", [
    (400, {"error": {"message": "bad top_p", "type": "BadRequestError",
                     "param": "top_p", "code": 400}},
     (400, "invalid_request_error", "top_p", None)),
    (404, {"error": {"message": "The model `q` does not exist.",
                     "type": "NotFoundError", "param": "model", "code": 404}},
     (404, "invalid_request_error", "model", "model_not_found")),
    (400, {"error": {"message": "This model's maximum context length is 4096 "
                                "tokens.", "type": "BadRequestError",
                     "param": None, "code": 400}},
     (400, "invalid_request_error", None, "context_length_exceeded")),
    (422, {"error": {"message": "no", "type": "UnprocessableEntityError",
                     "param": "body.messages", "code": 422}},
     (400, "invalid_request_error", "messages", None)),
    (401, {"error": "Unauthorized"},
     (502, "server_error", None, "backend_auth")),
    (500, {"error": {"message": "engine", "type": "InternalServerError",
                     "param": None, "code": 500}},
     (500, "server_error", None, "backend_error")),
    (503, {"error": {"message": "Loading model", "type": "unavailable_error",
                     "code": 503}},
     (503, "server_error", None, "backend_busy")),
    (400, {"object": "error", "message": "flat", "type": "BadRequestError",
           "param": None, "code": 40001},
     (400, "invalid_request_error", None, None)),
])
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_vllm_keep_status_and_words(proxy, status, sent, expected,
                                              stream):
    daemon, _ = proxy(lambda _r, peer: peer.whole(sent, status=status))
    answer = ask(daemon.port, body=chat("vllm:m", stream))
    error = answer.error
    got = (answer.status, error["type"], error["param"], error["code"])
    if expected[3] == "context_length_exceeded":
        got = (got[0], got[1], None, got[3])
    assert got == expected
    if expected[0] == status:
        assert error["message"] == (sent.get("error") or sent)["message"]


@pytest.mark.parametrize("status, sent, expected", [
    (404, {"error": "model 'nope' not found"}, (404, "model_not_found")),
    (400, {"error": "invalid format"}, (400, None)),
    (400, {"error": '{"error":{"code":400,"message":"request (303 tokens) '
                    'exceeds the available context size (256 tokens)",'
                    '"type":"exceed_context_size_error"}}'},
     (400, "context_length_exceeded")),
    (500, {"error": "model runner has unexpectedly stopped"},
     (500, "backend_error")),
    (503, {"error": "server busy, please try again."},
     (503, "backend_busy")),
    (401, {"error": "unauthorized"}, (502, "backend_auth")),
])
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_ollama(proxy, status, sent, expected, stream):
    daemon, _ = proxy(lambda _r, peer: peer.whole(sent, status=status))
    answer = ask(daemon.port, body=chat("ollama:nope", stream))
    assert (answer.status, answer.error["code"]) == expected
    assert '{\\"' not in answer.body.decode()


def test_a_backends_429_is_told_apart_from_ours(proxy):
    daemon, _ = proxy(lambda _r, peer: peer.whole(
        {"error": {"message": "slow down", "type": "rate_limit"}},
        status=429, Retry_After="7"))
    answer = ask(daemon.port, body=chat())
    assert answer.status == 429
    assert answer.error["code"] == "backend_rate_limited"
    assert answer.header("Retry-After") == "7"


def test_a_dead_reused_connection_is_replaced_once(proxy):
    # The first answer is kept alive, then the backend closes the connection
    # with the next request on it.
    seen = []

    def handler(got, peer):
        seen.append(got.connection_id)
        if len(seen) == 2:
            peer.close()
            return
        peer.whole({"ok": len(seen)})

    daemon, behind = proxy(handler, WORKERS=1)
    assert ask(daemon.port, body=chat()).json == {"ok": 1}
    answer = ask(daemon.port, body=chat())
    assert answer.status == 200 and answer.json == {"ok": 3}
    assert len(behind.requests) == 3
    assert seen[0] == seen[1] != seen[2]


def test_idle_connections_that_the_backend_closes_are_invisible(proxy):
    def handler(_request, peer):
        peer.whole({"ok": 1})
        peer.close()

    daemon, behind = proxy(handler, WORKERS=1)
    for _ in range(20):
        assert ask(daemon.port, body=chat()).status == 200
    assert len(behind.requests) == 20


HEAD = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Content-Length: 8\r\n\r\n")
BODY = b'{"ok":1}'
FORGED = HEAD + b'{"ok":2}'


@pytest.mark.parametrize("parts", [
    (HEAD + BODY + FORGED,), (HEAD, BODY + FORGED), (HEAD + BODY, FORGED),
    (HEAD, BODY, b"junk")], ids=["whole", "body", "later", "junk"])
def test_what_follows_an_answer_is_never_the_next_one(proxy, parts):
    sent = threading.Semaphore(0)

    def handler(_request, peer):
        for part in parts:
            peer.send(part)
            time.sleep(0.002)  # so that it is read by itself
        sent.release()

    daemon, _ = proxy(handler, WORKERS=1)
    for _ in range(8):
        assert ask(daemon.port, body=chat()).body == BODY
        sent.acquire()
        ask(daemon.port, "/healthz")  # the loop has seen what is there


def test_a_long_answer_is_not_taken_for_what_follows_one(proxy):
    """All of it is there when curl first looks, and more than one turn takes:
    the transfer pauses before it has ever waited for its socket."""
    def handler(_request, peer):
        peer.whole({"error": "x" * (3 << 17)}, status=400)

    daemon, _ = proxy(handler, WORKERS=1)
    for _ in range(30):
        assert ask(daemon.port, body=chat()).status == 400


def test_nor_that_of_a_request_in_the_queue(proxy):
    def handler(_request, peer):
        peer.send(HEAD)
        time.sleep(0.002)
        peer.send(BODY + FORGED)

    daemon, _ = proxy(handler, WORKERS=1, BACKEND_MAX_INFLIGHT=1)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(
            lambda _: ask(daemon.port, body=chat()).body, range(12)))
    assert bodies == [BODY] * 12


@pytest.mark.parametrize("lie, detail", [
    ("short", b'{"half":'), ("chunk", b"")])
def test_lies_about_the_length(proxy, lie, detail):
    def handler(_request, peer):
        if lie == "chunk":
            peer.head()
            peer.send(b"zz\r\njunk\r\n")
        else:
            peer.head(length=100)
            peer.send(detail)
        peer.close()

    daemon, _ = proxy(handler)
    with pytest.raises(Exception) as caught:
        answer = ask(daemon.port, body=chat())
        assert answer.status == 502
        raise EOFError
    assert caught.type.__name__ in ("Closed", "EOFError")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
         "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out",
         folder / "cert.pem"], check=True, capture_output=True)
    return folder


def test_tls_backends_are_verified(daemon, backend, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    behind = backend(tls=context)
    trusting = daemon(VLLM_BASE_URL=behind.url,
                      VLLM_CA_FILE=certificate / "cert.pem")
    assert ask(trusting.port, body=chat()).status == 200
    wary = daemon(VLLM_BASE_URL=behind.url)
    expect(ask(wary.port, body=chat()), 502, "backend_unreachable", "1")


def test_proxies_of_the_environment_are_ignored(daemon, backend):
    behind = backend()
    nowhere = "http://127.0.0.1:1"
    one = daemon(VLLM_BASE_URL=behind.url,
                 env={"http_proxy": nowhere, "ALL_PROXY": nowhere})
    assert ask(one.port, body=chat()).status == 200


def test_one_dead_backend_does_not_hurt_the_other(daemon, backend):
    behind = backend(lambda _r, peer: peer.wait_closed(20))
    alive = backend()
    one = daemon(VLLM_BASE_URL=behind.url, OLLAMA_BASE_URL=alive.url,
                 FIRST_BYTE_TIMEOUT="2s", WORKERS=1)
    threads = [threading.Thread(target=ask, args=(one.port,),
                                kwargs={"body": chat()}) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert ask(one.port, body=chat("ollama:demo")).status == 200
    for thread in threads:
        thread.join()


def test_a_long_error_keeps_its_status(proxy):
    text = "x" * 300_000
    daemon, _ = proxy(lambda _, peer: peer.whole(
        {"error": {"message": text, "type": "BadRequestError", "code": 400}},
        400))
    answer = ask(daemon.port, body=chat())
    assert answer.status == 400
    assert answer.error["message"] == text


def test_a_change_of_protocol_is_no_answer(proxy):
    def handler(_, peer):
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
                  b"Connection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\n"
                  b"Content-Length: 2\r\n\r\n{}")

    daemon, _ = proxy(handler)
    for model in ("vllm:m", "ollama:m"):
        answer = ask(daemon.port, body=chat(model))
        expect(answer, 502, "backend_bad_response")
        assert answer.header("x-should-retry") == "false"
