"""CORS_ORIGINS: pages of these origins may ask from a browser, others may
not, and without it no answer says a word about origins."""

import pytest
from daemon import TOKEN
from raw import Client, Closed, ask, chat, request

PAGE = "https://app.example"
OTHER = "https://evil.example"
EXPOSED = {"x-request-id", "retry-after", "retry-after-ms", "x-should-retry",
           "x-proxy-partial", "x-proxy-dropped-params"}
TOKENS = [{"token": TOKEN, "label": "demo", "rpm": 100, "rpd": 1000}]


def preflight(port, path, origin, method="POST"):
    return ask(port, path, method="OPTIONS", token=None, headers=[
        f"Origin: {origin}", f"Access-Control-Request-Method: {method}",
        "Access-Control-Request-Headers: authorization,x-stainless-os"])


def cors_fields(answer):
    return {name for name, _ in answer.headers
            if name.lower().startswith("access-control-")
            or name.lower() == "vary"}


def handler(got, peer):
    body = got.json if got.body else {}
    if got.path == "/api/show":
        peer.whole({"error": "model not found"}, status=404)
    elif body.get("stream"):
        peer.sse_head(access_control_allow_origin="*")
        peer.sse({"n": 1})
        if body.get("cut"):
            peer.reset()
            return
        peer.sse("[DONE]")
        peer.end()
    else:
        peer.whole({"object": "list", "data": [], "models": [], "ok": 1})


def answers(daemon, *headers):
    """One of each kind: an answer, a stream, the proxy's own, refusals."""
    asked = [("/v1/chat/completions", {"body": chat()}, 200),
             ("/v1/chat/completions", {"body": chat(stream=True)}, 200),
             ("/v1/models", {}, 200),
             ("/healthz", {}, 200),
             ("/v1/models/none", {}, 404),
             ("/nowhere", {}, 404),
             ("/v1/models", {"method": "DELETE"}, 405),
             ("/v1/chat/completions", {"body": chat(), "token": "wrong"}, 401),
             ("/v1/chat/completions", {"body": b"{"}, 400)]
    for path, named, status in asked:
        answer = ask(daemon.port, path, headers=headers, **named)
        assert answer.status == status
        yield answer


def test_without_the_setting_nobody_is_told_anything(proxy):
    daemon, _ = proxy(handler)
    for answer in answers(daemon, f"Origin: {PAGE}"):
        assert not cors_fields(answer)
    answer = preflight(daemon.port, "/v1/chat/completions", PAGE)
    assert answer.status == 204
    assert not cors_fields(answer)


def test_a_page_may_read_every_answer(proxy, workers):
    daemon, _ = proxy(handler, CORS_ORIGINS=f"http://localhost:3000,{PAGE}",
                      WORKERS=workers, tokens=TOKENS)
    for answer in answers(daemon, f"Origin: {PAGE}"):
        names = [name.lower() for name, _ in answer.headers]
        assert names.count("access-control-allow-origin") == 1
        assert answer.header("Access-Control-Allow-Origin") == PAGE
        assert answer.header("Vary") == "Origin"
        exposed = {name.strip().lower() for name in answer.header(
            "Access-Control-Expose-Headers").split(",")}
        assert EXPOSED < exposed
        # Every field of ours is among them.
        ours = {name for name in names
                if name.startswith(("x-ratelimit", "ratelimit", "x-proxy",
                                    "x-request", "retry", "x-should"))}
        assert ours <= exposed


def test_other_pages_may_not(proxy):
    daemon, _ = proxy(handler, CORS_ORIGINS=PAGE)
    for headers in ([f"Origin: {OTHER}"], [f"Origin: {PAGE}.evil.example"],
                    ["Origin: null"], []):
        for answer in answers(daemon, *headers):
            assert cors_fields(answer) == {"Vary"}
    answer = preflight(daemon.port, "/v1/chat/completions", OTHER)
    assert (answer.status, cors_fields(answer)) == (204, {"Vary"})


def test_anybody_may_if_all_may(proxy):
    daemon, _ = proxy(handler, CORS_ORIGINS="*")
    for answer in answers(daemon, f"Origin: {OTHER}"):
        assert answer.header("Access-Control-Allow-Origin") == "*"


@pytest.mark.parametrize("path, methods", [
    ("/v1/chat/completions", "POST, OPTIONS"),
    ("/v1/models", "GET, HEAD, OPTIONS"),
    ("/v1/models/a%2fb", "GET, HEAD, OPTIONS"),
])
def test_a_preflight_is_answered(proxy, path, methods):
    daemon, backend = proxy(handler, CORS_ORIGINS=PAGE)
    answer = preflight(daemon.port, path, PAGE)
    assert answer.status == 204
    assert answer.header("Access-Control-Allow-Origin") == PAGE
    assert answer.header("Access-Control-Allow-Methods") == methods
    assert answer.header("Access-Control-Allow-Headers") == \
        "authorization,x-stainless-os"
    assert int(answer.header("Access-Control-Max-Age")) > 0
    assert answer.header("Vary") == "Origin"
    assert not backend.requests
    # What is no preflight is an OPTIONS like any other.
    plain = ask(daemon.port, path, method="OPTIONS",
                headers=[f"Origin: {PAGE}"])
    assert plain.status == 204
    assert plain.header("Access-Control-Allow-Methods") is None
    assert preflight(daemon.port, "/nowhere", PAGE).status == 404


def test_a_stream_that_fails_and_a_refund_keep_the_fields(proxy):
    daemon, backend = proxy(handler, CORS_ORIGINS=PAGE, tokens=TOKENS)
    with Client(daemon.port) as client:
        client.send(request(body=chat(stream=True, cut=True),
                            headers=[f"Origin: {PAGE}"]))
        answer = client.head()
        with pytest.raises(Closed):
            client.rest(answer)
        assert answer.header("Access-Control-Allow-Origin") == PAGE
    backend.stop()
    answer = ask(daemon.port, body=chat(), headers=[f"Origin: {PAGE}"])
    assert answer.status == 502
    names = [name for name, _ in answer.headers]
    assert names.count("Access-Control-Allow-Origin") == 1


def test_a_reload_takes_origins(proxy):
    daemon, _ = proxy(handler)
    daemon.write_config(CORS_ORIGINS=PAGE)
    daemon.reload()
    answer = preflight(daemon.port, "/v1/models", PAGE, "GET")
    assert answer.header("Access-Control-Allow-Origin") == PAGE
