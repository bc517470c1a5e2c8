"""Each row of the table of errors, provoked for real over a socket. The list
is held against the code's table: a new row needs a way to it here."""

import re
import signal
from dataclasses import dataclass, field

import pytest
from daemon import ROOT, TOKEN
from raw import Client, chat, request

ROW = re.compile(
    r'\{ApiErrorKind::(?P<kind>\w+), (?P<status>\d+), (?P<type>k\w+),\s+'
    r'(?P<code>nullptr|"\w+"),\s+(?P<param>nullptr|"\w+"),\s+'
    r'(?P<retry_after>\d+), (?P<closes>true|false), ')
SOURCE = (ROOT / "src/http/api_error.cc").read_text()
NAMES = dict(re.findall(r'constexpr char (k\w+)\[\] = "(\w+)";', SOURCE))
ROWS = {row["kind"]: row for row in ROW.finditer(SOURCE)}
# Not in the power of any client, backend or operator; upstream_pool_test
# has libcurl fail for it.
UNREACHABLE = {"Internal"}

TOKENS = [
    {"token": TOKEN, "label": "demo"},
    {"token": "off-key-1234", "label": "off", "disabled": True},
    {"token": "old-key-1234", "label": "old", "expires": "2020-01-01"},
    {"token": "few-key-1234", "label": "few", "models": ["vllm:one"]},
    {"token": "rpm-key-1234", "label": "rpm", "rpm": 1},
    {"token": "rpd-key-1234", "label": "rpd", "rpd": 1},
    {"token": "one-key-1234", "label": "one", "concurrency": 1},
]
PATH = "/v1/chat/completions"
LINE = {"model": "m", "created_at": "2026-09-01T08:31:00Z", "done": True,
        "done_reason": "stop", "message": {"role": "assistant"}}


def fine(_request, peer):
    peer.whole({"ok": 1})


def silent(_request, peer):
    peer.pause(20)


def says(status, text="no"):
    """An Ollama that refuses."""
    return lambda _, peer: peer.whole({"error": text}, status=status)


def cut(_request, peer):
    peer.head(200, "application/json", length=100)
    peer.send(b"{")
    peer.close()


def large(_request, peer):
    peer.whole({**LINE, "message": {"content": "x" * 500_000}})


def head(*lines, version="1.1"):
    return "\r\n".join([f"POST {PATH} HTTP/{version}", "Host: proxy",
                        f"Authorization: Bearer {TOKEN}", *lines,
                        "", ""]).encode()


@dataclass
class Way:
    """How to come to a row: what is sent, and to whom."""
    send: bytes
    handler: object = fine
    param: str = None      # where the table has none
    before: bytes = None   # answered first, on the same connection
    holding: bytes = None  # under way meanwhile, on another one
    settings: dict = field(default_factory=dict)
    signal: int = None     # to the daemon, once the backend has the request


OLLAMA = request(body=chat("ollama:m"))
VLLM = request(body=chat())
DRAIN = {"DRAIN_TIMEOUT": "100ms"}
WAYS = {
    "MissingApiKey": Way(request("/v1/models", token=None)),
    "InvalidApiKey": Way(request("/v1/models", token="wrong-key")),
    "TokenDisabled": Way(request("/v1/models", token="off-key-1234")),
    "TokenExpired": Way(request("/v1/models", token="old-key-1234")),
    "UnknownUrl": Way(request("/nowhere")),
    "MethodNotSupported": Way(request("/v1/models", method="DELETE")),
    "ModelNotFound": Way(request(body=chat("vllm:two"),
                                 token="few-key-1234")),
    "CloudModel": Way(request(body=chat("ollama:m:cloud"))),
    "MissingModel": Way(request(body={"messages": []})),
    "InvalidJson": Way(request(body=b"{")),
    "InvalidRequest": Way(OLLAMA, says(400)),
    "MissingParameter": Way(request(body={"model": "ollama:m"}),
                            param="messages"),
    "InvalidType": Way(request(body={"model": 7}), param="model"),
    "InvalidValue": Way(request(body=chat("")), param="model"),
    "UnsupportedParameter": Way(request(body=chat("ollama:m", n=2)),
                                param="n"),
    "UnsupportedModel": Way(OLLAMA, says(501)),
    "NotImplemented": Way(request("/v1/score", {"model": "ollama:m"}),
                          settings={"ENDPOINTS": "score"}),
    "ContextLengthExceeded": Way(OLLAMA, says(
        400, "the prompt exceeds the available context size")),
    "RequestTooLarge": Way(request(body=b"x" * 2000),
                           settings={"MAX_BODY_BYTES": 1000}),
    "UnsupportedMediaType": Way(head("Content-Type: text/plain",
                                     "Content-Length: 0")),
    "UnsupportedEncoding": Way(head("Content-Encoding: gzip",
                                    "Content-Length: 0")),
    "BadHttp": Way(head("no colon")),
    "UnsupportedTransferCoding": Way(head("Transfer-Encoding: gzip")),
    "HttpVersion": Way(head(version="2.0")),
    "UriTooLong": Way(request("/" + "x" * 9000)),
    "HeadersTooLarge": Way(head("X: " + "x" * 40_000)),
    "ExpectationFailed": Way(head("Expect: 200-perhaps",
                                  "Content-Length: 0")),
    "RequestTimeout": Way(b"GET /", settings={"HEAD_TIMEOUT": "100ms"}),
    "RateLimitMinute": Way(request(body=chat(), token="rpm-key-1234"),
                           before=request(body=chat(),
                                          token="rpm-key-1234")),
    "RateLimitDay": Way(request(body=chat(), token="rpd-key-1234"),
                        before=request(body=chat(), token="rpd-key-1234")),
    "ConcurrencyLimit": Way(request(body=chat(), token="one-key-1234"), silent,
                            holding=request(body=chat(),
                                            token="one-key-1234")),
    "LimiterUnavailable": Way(request(body=chat(), token="rpm-key-1234"),
                              settings={"RATE_LIMIT_STORE": "redis",
                                        "RATE_LIMIT_ON_ERROR": "deny",
                                        "REDIS_URL": "redis://127.0.0.1:1"}),
    "BackendRateLimited": Way(OLLAMA, says(429)),
    "BackendUnreachable": Way(VLLM, lambda _, peer: peer.reset()),
    "BackendTimeout": Way(VLLM, silent,
                          settings={"FIRST_BYTE_TIMEOUT": "100ms"}),
    "BackendBusy": Way(VLLM, silent, holding=VLLM,
                       settings={"BACKEND_MAX_INFLIGHT": 1, "QUEUE_SIZE": 0}),
    "BackendBadResponse": Way(OLLAMA, lambda _, peer: peer.whole(b"junk")),
    "BackendAuth": Way(OLLAMA, says(401)),
    "BackendError": Way(OLLAMA, cut),
    "BackendFailed": Way(OLLAMA, says(500)),
    "Overloaded": Way(OLLAMA, large, settings={"MAX_BODY_BYTES": "64k",
                                               "MAX_BUFFERED_BYTES": "64k"}),
    "ShuttingDown": Way(VLLM, silent, settings=DRAIN, signal=signal.SIGTERM),
}


def test_every_row_has_a_way():
    assert len(ROWS) == SOURCE.count("{ApiErrorKind::") > 40
    assert set(ROWS) == set(WAYS) | UNREACHABLE


def text_of(cell):
    return None if cell == "nullptr" else cell.strip('"')


@pytest.mark.parametrize("kind", WAYS)
def test_row(proxy, kind):
    way, row = WAYS[kind], ROWS[kind]
    daemon, backend = proxy(way.handler, tokens=TOKENS, **way.settings)
    with Client(daemon.port) as other, Client(daemon.port) as client:
        if way.holding:
            other.send(way.holding)
            backend.wait_requests(1)
        if way.before:
            client.send(way.before)
            assert client.answer().status == 200
        client.send(way.send)
        if way.signal:
            backend.wait_requests(1)
            daemon.signal(way.signal)
        answer = client.answer()
        assert answer.status == int(row["status"]), answer.body
        assert answer.error["type"] == NAMES[row["type"]]
        assert answer.error["code"] == text_of(row["code"])
        assert answer.error["param"] == (text_of(row["param"]) or way.param)
        assert answer.error["message"]
        assert set(answer.error) == {"message", "type", "param", "code"}
        if answer.header("x-should-retry") is None:
            assert (answer.header("Retry-After") is not None) == \
                (row["retry_after"] != "0")
        assert answer.header("X-Request-Id")
        if row["closes"] == "true" or way.signal:
            assert answer.header("Connection") == "close"
            assert client.sock.recv(1) == b""
        else:
            assert client.ask("/healthz").status == 200
