"""nginx as shipped before the daemon: what goes where, counted once, and what
the client and the log are told."""

import json
import re

import pytest
from nginx import SHAPES
from raw import ask, chat

pytestmark = pytest.mark.nginx
TOKENS = [{"token": "demo-key-123", "label": "alice", "rpm": 5, "rpd": 100},
          {"token": "other-key-456", "label": "bob", "models": ["vllm:m"]},
          {"token": "single-key-012", "label": "dave", "concurrency": 1}]
EACH_SHAPE = pytest.mark.parametrize("shape", SHAPES)


def both(request, peer):
    """The minimum of either wire; "from" says what the model was called."""
    if request.path.startswith("/api/"):
        peer.whole({"model": "m", "created_at": "2026-11-24T10:00:00Z",
                    "message": {"role": "assistant", "content": "hi"},
                    "done": True, "done_reason": "stop"})
    elif request.method == "GET":
        peer.whole({"object": "list", "data": []})
    else:
        peer.whole({"from": request.json["model"]},
                   X_RateLimit_Limit_Requests="7", Server="vllm",
                   X_Accel_Redirect="/internal/authz", X_Request_Id="theirs")


def limits(answer):
    return [value for name, value in answer.headers
            if name.lower() == "x-ratelimit-remaining-requests"]


@EACH_SHAPE
@pytest.mark.parametrize("model, path", [
    ("ollama:m", "/api/chat"), ("vllm:m", "/v1/chat/completions")])
def test_each_shape_serves_both_backends_and_charges_once(site, shape, model,
                                                          path):
    at = site(both, tokens=TOKENS)
    for left in ("4", "3"):
        answer = at.ask(shape, body=chat(model))
        assert answer.status == 200
        assert limits(answer) == [left]
        assert answer.header("X-RateLimit-Limit-Requests") == "5"
        assert answer.header("X-RateLimit-Remaining-Requests-Day") is not None
        assert answer.header("X-RateLimit-Reset-Requests") is not None
    assert [request.path for request in at.behind.requests] == [path] * 2
    # As the daemon counted them.
    assert limits(ask(at.daemon.port, body=chat())) == ["2"]


@EACH_SHAPE
def test_a_redis_counts_for_all_shapes(site, redis, shape):
    store = redis()
    at = site(both, tokens=TOKENS, RATE_LIMIT_STORE="redis",
              REDIS_URL=store.url)
    for left in ("4", "3", "2", "1", "0"):
        assert limits(at.ask(shape, body=chat("vllm:m"))) == [left]
    denied = at.ask(shape, body=chat("vllm:m"))
    assert denied.status == 429
    assert denied.error["code"] == "rate_limit_exceeded"
    # One count of the token's; the others are receipts.
    assert len([key for key in store.keys() if key.endswith("}")]) == 1


@EACH_SHAPE
def test_the_limits_are_those_after_a_refund(site, shape):
    """What reached no backend costs nothing, and the answer says so."""
    at = site(both, tokens=TOKENS)
    for body in (b"{", b'{"model":"vllm:m","model":"x"}'):
        answer = at.ask(shape, body=body)
        assert answer.status == 400
        assert limits(answer) == ["5"]
        assert answer.header("X-RateLimit-Remaining-Requests-Day") == "100"
        assert answer.header("X-RateLimit-Limit-Requests") == "5"
    assert limits(at.ask(shape, body=chat("vllm:m"))) == ["4"]


@pytest.mark.parametrize("default, headers, model, straight", [
    ("ollama", [], "vllm:m", False),
    ("ollama", ["X-Model: vllm:m"], "m", True),
    ("vllm", [], "m", True),
    ("vllm", ["X-Model: ollama:m"], "ollama:m", False),
])
def test_the_oracle_names_the_backend(site, default, headers, model, straight):
    at = site(both, tokens=TOKENS, DEFAULT_BACKEND=default,
              VLLM_API_KEY="of-the-daemon")
    answer = at.ask("oracle", body=chat(model), headers=headers)
    assert answer.status == 200
    assert limits(answer) == ["4"]
    assert at.straight() == straight
    request = at.behind.requests[0]
    if straight:
        # Byte for byte, without the client's token.
        assert request.json == chat(model)
        assert request.header("Authorization") is None
    assert "demo-key" not in request.head.decode()
    assert limits(ask(at.daemon.port, body=chat())) == ["3"]


@pytest.mark.parametrize("method, path, headers", [
    ("GET", "/v1/models", []),
    ("POST", "/v1/load_lora_adapter", []),
    ("POST", "//v1/chat/completions", []),
    ("POST", "/v1/x/../chat/completions", []),
    ("POST", "/v1/chat%2Fcompletions", []),
    ("POST", "/v1/chat/completions/", []),
    ("GET", "/v1/chat/completions", []),
    ("POST", "/tokenize", []),  # not switched on
    ("POST", "/v1/nothing", ["X-Model: vllm:m"]),
])
def test_the_oracle_sends_vllm_only_what_is_known(site, method, path, headers):
    at = site(both, tokens=TOKENS, DEFAULT_BACKEND="vllm")
    answer = at.ask("oracle", path, method=method, headers=headers,
                    body=chat("m") if method == "POST" else None)
    assert answer.status == (200 if path == "/v1/models" else
                             405 if method == "GET" else 404)
    assert not any(request.header("X-Real-IP")
                   for request in at.behind.requests)
    assert answer.status == 200 or answer.error["message"]


@pytest.mark.parametrize("token", ["other-key-456", "single-key-012"])
def test_the_oracle_keeps_lists_and_counts_with_the_daemon(site, token):
    at = site(both, tokens=TOKENS, DEFAULT_BACKEND="vllm")
    assert at.ask("oracle", body=chat("m"), token=token).json["from"] == "m"
    assert not at.straight()
    denied = at.ask("oracle", body=chat("x"), token="other-key-456",
                    headers=["X-Model: vllm:m"])
    assert (denied.status, denied.error["code"]) == (404, "model_not_found")


def test_the_oracle_knows_a_browsers_question(site):
    at = site(both, tokens=TOKENS, CORS_ORIGINS="https://app.example")
    answer = at.ask("oracle", method="OPTIONS", token=None, headers=[
        "Origin: https://app.example",
        "Access-Control-Request-Method: POST"])
    assert answer.status == 204
    assert answer.header("Access-Control-Allow-Origin") \
        == "https://app.example"


@EACH_SHAPE
@pytest.mark.parametrize("default", ["ollama", "vllm"])
def test_pages_may_read_what_the_daemon_says_they_may(site, shape, default):
    """Of each answer, whoever gives it; vLLM's word does not count."""
    def handler(_request, peer):
        peer.whole({"ok": 1}, Access_Control_Allow_Origin="*",
                   Access_Control_Allow_Credentials="true",
                   Access_Control_Expose_Headers="X-Theirs")

    app = "https://app.example"
    at = site(handler, DEFAULT_BACKEND=default, CORS_ORIGINS=app, tokens=[
        {"token": "demo-key-123", "label": "alice", "rpm": 2},
        {"token": "unlimited-key", "label": "una"}])

    def check(status, origin=app, **named):
        answer = at.ask(shape, headers=["Origin: " + origin],
                        **{"body": chat("vllm:m"), **named})
        told = [(name.lower(), value) for name, value in answer.headers
                if re.match("(?i)access-control-|vary$", name)]
        assert answer.status == status
        if origin == app:
            assert len(told) == 3, told
            told = dict(told)
            assert told["access-control-allow-origin"] == app
            assert "X-RateLimit-Limit-Requests" \
                in told["access-control-expose-headers"]
            assert told["vary"] == "Origin"
        else:
            assert told == [("vary", "Origin")]

    check(401, token="nobody")
    if (shape, default) != ("oracle", "vllm"):
        check(400, body=b"{")
    check(200)
    check(200, "https://evil.example")
    check(429)
    check(429, "https://evil.example")
    at.behind.stop()
    check(502, token="unlimited-key")


@pytest.mark.parametrize("setting, default, model, straight, sent", [
    ("bare", "vllm", "m", True, "m"),
    ("bare", "ollama", "vllm:m", False, "m"),
    ("all", "ollama", "vllm:m", True, "vllm:m"),
    ("off", "vllm", "m", False, "m"),
])
def test_the_redirect_reads_the_model(site, setting, default, model, straight,
                                      sent):
    at = site(both, tokens=TOKENS, ACCEL_REDIRECT=setting,
              DEFAULT_BACKEND=default)
    with at.client("redirect") as client:
        for left in ("4", "3"):
            answer = client.ask(body=chat(model))
            assert answer.json == {"from": sent}
            assert limits(answer) == [left]
            assert at.straight() == straight
    head = at.behind.requests[0].head.decode()
    assert "demo-key" not in head and "X-Accel" not in head
    assert at.behind.requests[0].path == "/v1/chat/completions"


@EACH_SHAPE
def test_ids_and_the_log(site, shape):
    at = site(both, tokens=TOKENS)
    answer = at.ask(shape, body=chat("vllm:m"), headers=["X-Request-Id: my-1"])
    assert answer.header("X-Request-Id") == "my-1"
    named = json.loads(at.nginx.wait_access('"id":"my-1"'))
    assert named["label"] == "alice"
    assert named["backend"] == "vllm"
    assert (named["status"], named["cause"]) == (200, "done")
    assert float(named["total"]) >= 0 and named["first"]
    # What is no id is replaced; the log holds no forged line.
    answer = at.ask(shape, body=chat("vllm:m"),
                    headers=['X-Request-Id: a"b', 'User-Agent: "},{"'])
    made = answer.header("X-Request-Id")
    assert len(made) == 32
    assert json.loads(at.nginx.wait_access(made))["id"] == made
    ids = [line["id"] for line in at.daemon.wait_access(2)]
    assert made in ids or shape == "oracle"
    for name in ("X-Proxy-Label", "X-Proxy-Backend", "X-RateLimit-Checked"):
        assert answer.header(name) is None
    for line in at.nginx.access_path.read_text().splitlines():
        assert "demo-key" not in line
        json.loads(line)


@EACH_SHAPE
@pytest.mark.parametrize("ask_for, status, cause", [
    ({"token": "nobody"}, 401, "denied"),
    ({"body": b"{"}, 400, "client_error"),
    ({"body": chat("gone")}, 502, "backend_error"),
])
def test_causes_in_the_log(site, shape, ask_for, status, cause):
    def handler(_request, peer):
        peer.reset()

    at = site(handler, tokens=TOKENS)
    answer = at.ask(shape, headers=["X-Request-Id: my-1"],
                    **{"body": chat(), **ask_for})
    assert answer.status == status
    named = json.loads(at.nginx.wait_access('"id":"my-1"'))
    assert (named["status"], named["cause"]) == (status, cause)


@EACH_SHAPE
def test_a_kept_connection(site, shape):
    at = site(both, tokens=[{"token": "demo-key-123", "label": "a"}])
    with at.client(shape) as client:
        for _ in range(3):
            assert client.ask(body=chat("vllm:m")).status == 200
            assert client.ask(token="nobody", body=chat("m")).status == 401
            assert client.ask("/v1/models").status == 200
