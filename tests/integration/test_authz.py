"""/internal/authz and the receipts it signs: a web server asks once, and the
daemon charges once."""

import concurrent.futures
import hashlib
import hmac
import json
import time

import pytest
from raw import Client, ask, chat, request, settle

SECRET = "a secret of both daemons"
TOKENS = [{"token": "demo-key-123", "label": "alice", "rpm": 5, "rpd": 100},
          {"token": "other-key-456", "label": "bob", "models": ["vllm:*"]},
          {"token": "former-key-789", "label": "carol", "disabled": True},
          {"token": "single-key-012", "label": "dave", "concurrency": 1}]


def ok(_request, peer):
    peer.whole({"ok": 1})


def authz(daemon, *headers, path="/internal/authz", **more):
    return ask(daemon.port, path, headers=list(headers), **more)


def receipt(request_id="r1", token="demo-key-123", age=0, secret=SECRET,
            now=None):
    digest = hashlib.sha256(token.encode()).hexdigest()
    stamp = int(time.time() if now is None else now) - age
    text = f"v1;{stamp};{request_id};{digest[:16]};"
    return text + hmac.new(secret.encode(), text.encode(),
                           hashlib.sha256).hexdigest()


def remaining(answer):
    return answer.header("X-RateLimit-Remaining-Requests")


def test_who_may_go_on(proxy):
    daemon, _ = proxy(ok, tokens=TOKENS)
    answer = authz(daemon, "X-Request-ID: abc")
    assert answer.status == 200
    assert answer.header("Content-Length") == "0"
    assert answer.header("X-Proxy-Backend") == "ollama"
    assert answer.header("X-Proxy-Label") == "alice"
    assert answer.header("X-Request-Id") == "abc"
    assert answer.header("X-Proxy-Status") is None
    assert remaining(answer) == "4"
    assert answer.header("X-RateLimit-Checked").startswith("v1;")


@pytest.mark.parametrize("token, status, true_status", [
    (None, 401, 401), ("wrong-key-000", 401, 401), ("former-key-789", 403, 403),
])
@pytest.mark.parametrize("mode", ["", "?mode=plain"])
def test_who_may_not(proxy, token, status, true_status, mode):
    daemon, _ = proxy(ok, tokens=TOKENS)
    answer = authz(daemon, path="/internal/authz" + mode, token=token)
    assert answer.status == status
    assert answer.header("Content-Length") == "0"
    assert (answer.header("WWW-Authenticate") is not None) == (status == 401)
    assert answer.header("X-Proxy-Status") == (
        None if mode else str(true_status))
    assert answer.header("X-Proxy-Label") is None
    assert answer.header("X-RateLimit-Checked") is None
    # What a request of that token would be told, for the web server to send.
    assert answer.body == b""
    told = ask(daemon.port, body=chat(), token=token)
    assert told.status == true_status
    assert answer.header("X-Proxy-Error") == told.body.decode()


def test_a_spent_limit_is_a_403_that_says_429(proxy):
    daemon, _ = proxy(ok, tokens=TOKENS)
    for left in range(4, -1, -1):
        assert remaining(authz(daemon)) == str(left)
    denied = authz(daemon)
    assert denied.status == 403
    assert denied.header("X-Proxy-Status") == "429"
    assert 1 <= int(denied.header("Retry-After")) <= 60
    assert denied.header("retry-after-ms") is not None
    assert remaining(denied) == "0"
    assert denied.body == b""
    error = json.loads(denied.header("X-Proxy-Error"))["error"]
    assert (error["type"], error["code"]) == ("requests",
                                              "rate_limit_exceeded")
    assert denied.header("X-Proxy-Label") == "alice"
    plain = authz(daemon, path="/internal/authz?mode=plain")
    assert plain.status == 429
    assert plain.header("X-Proxy-Label") is None  # the client reads this one
    assert plain.header("Retry-After") is not None
    # The same counters as those of a request.
    assert ask(daemon.port, body=chat()).status == 429


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_any_method_and_no_body_is_read(proxy, method):
    daemon, _ = proxy(ok, tokens=TOKENS)
    with Client(daemon.port) as client:
        assert client.ask("/internal/authz", method=method).status == 200
        # A body is announced and never comes: the answer does not wait.
        client.send(b"GET /internal/authz HTTP/1.1\r\nHost: p\r\n"
                    b"Authorization: Bearer demo-key-123\r\n"
                    b"Content-Length: 35\r\n\r\n")
        answer = client.answer()
        assert answer.status == 200
        assert answer.header("Connection") == "close"


@pytest.mark.parametrize("headers, named, status", [
    (["X-Model: vllm:m"], "vllm", 200),
    (["X-Model: m"], "ollama", 200),
    (["X-Proxy-Backend: vllm"], "vllm", 200),
    (["X-Proxy-Backend: nobody"], "ollama", 200),
    (["X-Model: ollama:m", "X-Proxy-Backend: vllm"], "ollama", 200),
    (["X-Original-URI: /v1/chat/completions?x=1"], "ollama", 200),
    (["X-Original-URI: /v1/rerank"], "vllm", 200),
    (["X-Original-URI: /v1/chat/completions", "X-Original-Method: POST",
      "X-Model: vllm:m"], "vllm", 200),
    # Only the daemon itself can answer these.
    (["X-Original-URI: /v1/models"], "proxy", 200),
    (["X-Original-URI: /v1/nothing", "X-Model: vllm:m"], "proxy", 200),
    (["X-Original-URI: /v1/chat/completions", "X-Original-Method: GET",
      "X-Proxy-Backend: vllm"], "proxy", 200),
    (["X-Original-URI: /v1/chat/completions", "X-Original-Method: OPTIONS"],
     "proxy", 200),
])
def test_which_backend(proxy, headers, named, status):
    daemon, _ = proxy(ok, tokens=TOKENS, ENDPOINTS="rerank")
    answer = authz(daemon, *headers)
    assert answer.status == status
    assert answer.header("X-Proxy-Backend") == named


@pytest.mark.parametrize("token", ["other-key-456", "single-key-012"])
def test_a_list_of_models_and_a_count_are_the_daemons_to_hold(proxy, token):
    """A web server has not read the model, and tells of no end."""
    daemon, _ = proxy(ok, tokens=TOKENS, DEFAULT_BACKEND="vllm")
    for headers in ([], ["X-Model: vllm:m"], ["X-Proxy-Backend: vllm"]):
        answer = authz(daemon, *headers, token=token)
        assert answer.header("X-Proxy-Backend") == "proxy"
    assert authz(daemon).header("X-Proxy-Backend") == "vllm"


def test_an_error_fits_the_head_that_web_servers_read(proxy):
    daemon, _ = proxy(ok, tokens=TOKENS)
    answer = authz(daemon, "X-Model: ollama:" + "\x80" * 500,
                   token="other-key-456")
    assert answer.header("X-Proxy-Status") == "404"
    assert json.loads(answer.header("X-Proxy-Error"))["error"]["param"]
    assert sum(len(name) + len(value) + 4
               for name, value in answer.headers) < 3500


def test_a_model_outside_the_list(proxy):
    daemon, _ = proxy(ok, tokens=TOKENS)
    answer = authz(daemon, "X-Model: ollama:m", token="other-key-456")
    assert answer.status == 403
    assert answer.header("X-Proxy-Status") == "404"
    assert authz(daemon, "X-Model: vllm:m",
                 token="other-key-456").status == 200


def test_what_is_free_is_not_charged(proxy):
    daemon, _ = proxy(ok, tokens=TOKENS)
    for uri in ("/v1/models", "/v1/models/x?y", "/healthz",
                "/v1/nothing", "/llm/v1/embeddings"):
        answer = authz(daemon, f"X-Original-URI: {uri}")
        assert answer.status == 200
        assert remaining(answer) is None
        assert answer.header("X-RateLimit-Checked") is None
    # The daemon will say 405.
    answer = authz(daemon, "X-Original-URI: /v1/embeddings",
                   "X-Original-Method: GET")
    assert remaining(answer) is None
    assert remaining(authz(daemon)) == "4"


# What ends before anything reached a backend: what is asked and the status.
REFUSED = {
    "json": ({"body": b"{"}, 400),
    "model": ({"body": b"{}"}, 400),
    "route": ({"body": chat("ollama:")}, 400),
    "coding": ({"body": chat(), "headers": ["Content-Encoding: gzip"]}, 415),
    "length": ({"body": chat(text="x" * 5000)}, 413),
    "path": ({"path": "/v1/nothing", "body": chat()}, 404),
    "unreachable": ({"body": chat("ollama:m")}, 502),
}


@pytest.mark.parametrize("asked, status", REFUSED.values(), ids=REFUSED)
def test_what_the_daemon_refuses_is_given_back(proxy, asked, status):
    daemon, behind = proxy(ok, tokens=TOKENS, MAX_BODY_BYTES="4k")
    if status == 502:
        behind.stop()
    checked = authz(daemon).header("X-RateLimit-Checked")
    field = "X-RateLimit-Checked: " + checked
    headers = [*asked.get("headers", []), field]
    answer = ask(daemon.port, **{"path": "/v1/chat/completions", **asked,
                                 "headers": headers})
    assert answer.status == status
    assert remaining(answer) == (None if status == 404 else "5")
    assert not behind.requests
    # The receipt is spent all the same.
    refused = ask(daemon.port, body=b"{", headers=[field])
    assert remaining(refused) == "5"
    assert remaining(authz(daemon)) == "4"


def test_a_slow_upload_is_not_charged_again(proxy):
    """nginx asks before it reads the body."""
    daemon, behind = proxy(ok, tokens=TOKENS, RATE_LIMIT_SHARED_SECRET=SECRET)
    for age in (299, 301):
        ask(daemon.port, body=chat(), headers=[
            "X-RateLimit-Checked: " + receipt(f"r{age}", age=age)])
    assert len(behind.requests) == 2
    assert remaining(authz(daemon)) == "3"


@pytest.mark.parametrize("uri, status", [
    ("/v1/chat/completions?" + "x" * 8175, 414),
    ("/v1/chat/completions#x", 400),
    ("/v1/chat/completions?\u00e9", 400),
], ids=["long", "fragment", "byte"])
def test_what_no_request_could_ask_for_costs_nothing(proxy, uri, status):
    daemon, _ = proxy(ok, tokens=TOKENS)
    denied = authz(daemon, f"X-Original-URI: {uri}")
    assert denied.status == 403
    assert denied.header("X-Proxy-Status") == str(status)
    assert denied.header("X-RateLimit-Checked") is None
    with Client(daemon.port) as client:
        client.send(request(uri, body=chat()))
        told = client.answer()
    assert told.status == status
    assert denied.header("X-Proxy-Error") == told.body.decode()
    assert remaining(authz(daemon)) == "4"


def test_who_is_turned_away_gets_the_unit_back(proxy):
    daemon, behind = proxy(ok, tokens=TOKENS, MAX_CONNECTIONS=2)
    with Client(daemon.port) as one, Client(daemon.port) as two:
        field = one.ask("/internal/authz").header("X-RateLimit-Checked")
        assert two.ask("/healthz").status == 200
        with Client(daemon.port) as late:
            answer = late.ask(body=chat(), headers=[
                "X-RateLimit-Checked: " + field])
        assert answer.status == 503
        assert remaining(one.ask("/internal/authz")) == "4"
    assert not behind.requests


def test_a_body_that_is_too_large_without_a_length(proxy):
    daemon, _ = proxy(ok, tokens=TOKENS, MAX_BODY_BYTES="4k")
    checked = authz(daemon).header("X-RateLimit-Checked")
    with Client(daemon.port) as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\n"
                    b"Authorization: Bearer demo-key-123\r\n"
                    b"X-RateLimit-Checked: " + checked.encode() + b"\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n1400\r\n")
        answer = client.answer()
    assert answer.status == 413
    assert remaining(answer) == "5"
    assert remaining(authz(daemon)) == "4"


def test_a_client_that_leaves_in_its_body(proxy):
    daemon, _ = proxy(ok, tokens=TOKENS)
    checked = authz(daemon).header("X-RateLimit-Checked")
    with Client(daemon.port) as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: p\r\n"
                    b"Authorization: Bearer demo-key-123\r\n"
                    b"X-RateLimit-Checked: " + checked.encode() + b"\r\n"
                    b"Content-Length: 100\r\n\r\n{")
        settle(daemon.port)
    daemon.wait_access(2)
    assert remaining(authz(daemon)) == "4"


def test_another_daemons_unit_is_not_given_back_here(proxy):
    """Each counts for itself: neither the minute's nor the day's is ours."""
    first, _ = proxy(ok, tokens=TOKENS, RATE_LIMIT_SHARED_SECRET=SECRET)
    second, _ = proxy(ok, tokens=TOKENS, RATE_LIMIT_SHARED_SECRET=SECRET)
    checked = authz(first).header("X-RateLimit-Checked")
    assert remaining(authz(second)) == "4"
    answer = ask(second.port, body=b"{",
                 headers=["X-RateLimit-Checked: " + checked])
    assert answer.status == 400
    answer = authz(second)
    assert remaining(answer) == "3"
    assert answer.header("X-RateLimit-Remaining-Requests-Day") == "98"


@pytest.mark.parametrize("forwarded", [
    "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1",
    "X-Real-IP: 192.0.2.1", "X-Forwarded-Host: a", "Via: 1.1 proxy"])
def test_strangers_get_the_404_of_any_unknown_path(proxy, forwarded):
    daemon, _ = proxy(ok, tokens=TOKENS)
    answer = authz(daemon, forwarded)
    other = ask(daemon.port, "/internal/author", headers=[forwarded])
    assert answer.status == other.status == 404
    assert (answer.error["message"].replace("authz", "author")
            == other.error["message"])
    near = ask(daemon.port, "//internal/authz")
    assert "Did you mean" not in near.error["message"]


def test_trusted_proxies_may_ask(proxy, tmp_path):
    daemon, _ = proxy(ok, tokens=TOKENS, TRUSTED_PROXIES="127.0.0.0/8",
                      LISTEN=f"127.0.0.1:0,unix:{tmp_path}/s")
    assert authz(daemon, "X-Forwarded-For: 192.0.2.1").status == 200
    with Client(None, unix=f"{tmp_path}/s") as client:
        assert client.ask("/internal/authz",
                          headers=["X-Real-IP: 192.0.2.1"]).status == 200


@pytest.mark.threads
def test_asked_twice_charged_once(proxy, workers):
    daemon, behind = proxy(ok, WORKERS=workers, tokens=TOKENS)
    first = authz(daemon, "X-Request-ID: same")
    again = authz(daemon, "X-Request-ID: same")
    assert remaining(first) == remaining(again) == "4"
    # As good, to the byte, and so used up together.
    assert (first.header("X-RateLimit-Checked")
            == again.header("X-RateLimit-Checked"))
    assert remaining(authz(daemon, "X-Request-ID: other")) == "3"
    # Another token's request of that name is another request.
    assert remaining(authz(daemon, "X-Request-ID: same",
                           token="other-key-456")) is None
    checked = "X-RateLimit-Checked: " + again.header("X-RateLimit-Checked")
    answer = ask(daemon.port, body=chat(), headers=[checked])
    assert answer.status == 200
    assert remaining(answer) is None  # the web server has them
    # Used up, both of them: from here on requests are charged.
    for one, left in ((first, "2"), (again, "1")):
        checked = "X-RateLimit-Checked: " + one.header("X-RateLimit-Checked")
        assert remaining(ask(daemon.port, body=chat(),
                             headers=[checked])) == left
    assert len(behind.requests) == 3
    assert behind.requests[0].header("X-RateLimit-Checked") is None
    daemon.advance(6000)
    assert remaining(authz(daemon, "X-Request-ID: same")) == "0"


def test_the_receipt_gives_back_what_reached_no_backend(daemon):
    one = daemon(tokens=TOKENS)
    for _ in range(3):
        checked = authz(one).header("X-RateLimit-Checked")
        answer = ask(one.port, body=chat(),
                     headers=["X-RateLimit-Checked: " + checked])
        assert answer.status == 502
    assert remaining(authz(one)) == "4"


def test_daemons_share_a_secret(proxy):
    first, _ = proxy(ok, tokens=TOKENS, RATE_LIMIT_SHARED_SECRET=SECRET)
    second, _ = proxy(ok, tokens=TOKENS, RATE_LIMIT_SHARED_SECRET=SECRET)
    stranger, _ = proxy(ok, tokens=TOKENS)
    checked = "X-RateLimit-Checked: " + authz(first).header(
        "X-RateLimit-Checked")
    assert remaining(ask(stranger.port, body=chat(),
                         headers=[checked])) == "4"
    assert remaining(ask(second.port, body=chat(), headers=[checked])) is None
    assert remaining(ask(second.port, body=chat(), headers=[checked])) == "4"


@pytest.mark.parametrize("value, why", [
    (lambda: "1", None),
    (lambda: "yes", "malformed"),
    (lambda: receipt(secret="not the secret at all"), "forged"),
    (lambda: receipt()[:-1] + "z", "malformed"),
    (lambda: receipt(age=3600), "stale"),
    (lambda: receipt(age=-3600), "stale"),
    (lambda: receipt(token="other-key-456"), "of another token"),
], ids=["bare", "junk", "forged", "cut", "old", "early", "other"])
def test_what_is_no_receipt_counts_for_nothing(proxy, value, why):
    daemon, _ = proxy(ok, tokens=TOKENS, RATE_LIMIT_SHARED_SECRET=SECRET,
                      LOG_LEVEL="info")
    answer = ask(daemon.port, body=chat(),
                 headers=["X-RateLimit-Checked: " + value()])
    assert answer.status == 200
    assert remaining(answer) == "4"
    if why:
        daemon.wait_log(f"receipt of alice refused: {why}")
    assert SECRET not in daemon.log
    good = ask(daemon.port, body=chat(),
               headers=["X-RateLimit-Checked: " + receipt()])
    assert remaining(good) is None


def test_a_receipt_is_of_its_own_hour(proxy):
    daemon, _ = proxy(ok, tokens=TOKENS, RATE_LIMIT_SHARED_SECRET=SECRET)
    daemon.advance(3600_000)
    for age, left in ((0, "4"), (-3600, None)):
        answer = ask(daemon.port, body=chat(), headers=[
            "X-RateLimit-Checked: " + receipt(f"r{age}", age=age)])
        assert remaining(answer) == left


@pytest.mark.parametrize("trusted, left", [("127.0.0.1", None),
                                           ("192.0.2.1", "4")])
def test_a_bare_one_of_a_trusted_proxy(proxy, trusted, left):
    daemon, _ = proxy(ok, tokens=TOKENS, TRUSTED_PROXIES=trusted,
                      TRUST_CHECKED_HEADER="plain")
    answer = ask(daemon.port, body=chat(), headers=["X-RateLimit-Checked: 1"])
    assert answer.status == 200
    assert remaining(answer) == left


@pytest.mark.threads
def test_one_of_many_gets_in_with_a_receipt(proxy, workers):
    daemon, _ = proxy(ok, WORKERS=workers, RATE_LIMIT_SHARED_SECRET=SECRET,
                      tokens=[{**TOKENS[0], "rpm": 1000}])
    checked = "X-RateLimit-Checked: " + receipt()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        left = list(pool.map(lambda _: remaining(
            ask(daemon.port, body=chat(), headers=[checked])), range(64)))
    assert left.count(None) == 1


def test_the_drafts_fields(proxy):
    daemon, _ = proxy(ok, tokens=TOKENS, RATE_LIMIT_FIELDS=1)
    for answer in (authz(daemon), ask(daemon.port, body=chat())):
        assert (answer.header("RateLimit-Policy")
                == '"rpm";q=5;w=60, "rpd";q=100;w=86400')
        assert answer.header("RateLimit").startswith('"rpm";r=')
    refused = ask(daemon.port, body=b"{")
    assert refused.header("RateLimit") is not None
    daemon.write_config(RATE_LIMIT_FIELDS=0)
    daemon.reload()
    assert authz(daemon).header("RateLimit") is None


def test_a_short_secret_is_refused_and_none_is_shown(proxy):
    daemon, _ = proxy(ok, tokens=TOKENS, RATE_LIMIT_SHARED_SECRET=SECRET)
    daemon.write_config(RATE_LIMIT_SHARED_SECRET="short-secret")
    daemon.reload(good=False)
    assert "RATE_LIMIT_SHARED_SECRET: must be at least 16" in daemon.log
    assert "short-secret" not in daemon.log
    assert json.dumps(TOKENS[0]["token"]) not in daemon.log
