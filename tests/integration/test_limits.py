"""RPM and RPD: exact over all workers, free when denied or not delivered, and
told in the headers."""

import concurrent.futures

import pytest
from raw import Client, ask, chat

MINUTE = 60_000
DAY = 24 * 60 * MINUTE


def limited(**limits):
    return [{"token": "demo-key-123", "label": "alice", **limits}]


def ok(_request, peer):
    peer.whole({"ok": 1})


@pytest.mark.threads
@pytest.mark.parametrize("limit", ["rpm", "rpd"])
def test_n_means_n_under_concurrency(proxy, workers, limit):
    daemon, behind = proxy(ok, WORKERS=workers, tokens=limited(**{limit: 50}))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(
            lambda _: ask(daemon.port, body=chat()).status, range(120)))
    assert statuses.count(200) == 50
    assert statuses.count(429) == 70
    assert len(behind.requests) == 50


def test_headers_count_down_and_the_window_passes(proxy):
    daemon, _ = proxy(ok, tokens=limited(rpm=3, rpd=100))
    for left in (2, 1, 0):
        answer = ask(daemon.port, body=chat())
        assert answer.status == 200
        assert answer.header("x-ratelimit-limit-requests") == "3"
        assert answer.header("x-ratelimit-remaining-requests") == str(left)
        assert answer.header("x-ratelimit-reset-requests").endswith("s")
        assert answer.header("x-ratelimit-limit-requests-day") == "100"
    denied = ask(daemon.port, body=chat())
    assert denied.status == 429
    error = denied.error
    assert error["type"] == "requests"
    assert error["code"] == "rate_limit_exceeded"
    assert "3 requests per minute for token 'alice'" in error["message"]
    assert "try again in" in error["message"]
    wait_s = int(denied.header("Retry-After"))
    wait_ms = int(denied.header("retry-after-ms"))
    assert 1 <= wait_s <= 60 and wait_s == -(-wait_ms // 1000)
    assert denied.header("x-should-retry") is None
    # Denials are free: the window is the one of the first request.
    daemon.advance(wait_ms - 1000)
    assert ask(daemon.port, body=chat()).status == 429
    daemon.advance(1001)
    after = ask(daemon.port, body=chat())
    assert after.status == 200
    assert after.header("x-ratelimit-remaining-requests") == "2"


def test_the_day_ends_at_midnight_utc(proxy):
    daemon, _ = proxy(ok, tokens=limited(rpd=1))
    assert ask(daemon.port, body=chat()).status == 200
    denied = ask(daemon.port, body=chat())
    assert denied.status == 429
    assert denied.header("x-should-retry") == "false"
    assert "will reset at 00:00 UTC" in denied.error["message"]
    wait_ms = int(denied.header("retry-after-ms"))
    assert int(denied.header("Retry-After")) == -(-wait_ms // 1000)
    if wait_ms > 5000:
        daemon.advance(wait_ms - 5000)
        assert ask(daemon.port, body=chat()).status == 429
        daemon.advance(5001)
    else:
        daemon.advance(wait_ms + 1)
    assert ask(daemon.port, body=chat()).status == 200


def test_clock_jumps_give_nothing_away(proxy):
    daemon, _ = proxy(ok, tokens=limited(rpd=2))
    assert ask(daemon.port, body=chat()).status == 200
    daemon.advance(-60 * MINUTE)
    assert ask(daemon.port, body=chat()).status == 200
    assert ask(daemon.port, body=chat()).status == 429
    daemon.advance(60 * MINUTE)
    assert ask(daemon.port, body=chat()).status == 429


@pytest.mark.parametrize("model", ["vllm:m", "ollama:m"])
def test_what_reached_no_backend_is_given_back(daemon, model):
    one = daemon(tokens=limited(rpm=2))
    for _ in range(5):
        answer = ask(one.port, body=chat(model))
        assert answer.status == 502
        assert answer.header("x-ratelimit-remaining-requests") == "2"


def test_what_reached_the_backend_is_spent(proxy):
    daemon, _ = proxy(lambda _r, peer: peer.close(), tokens=limited(rpm=2))
    for left in ("1", "0"):
        answer = ask(daemon.port, body=chat())
        assert answer.status == 502
        assert answer.header("x-ratelimit-remaining-requests") == left
    assert ask(daemon.port, body=chat()).status == 429


@pytest.mark.parametrize("body", [b"{bad", b'{"messages":[]}',
                                  b'{"model":"vllm:"}'])
def test_refused_requests_are_free_but_told(proxy, body):
    daemon, _ = proxy(ok, tokens=limited(rpm=2))
    for _ in range(3):
        answer = ask(daemon.port, body=body)
        assert answer.status == 400
        assert answer.header("x-ratelimit-remaining-requests") == "2"


def test_a_wrong_method_is_free_but_told(proxy):
    daemon, _ = proxy(ok, tokens=limited(rpm=2))
    for token, left in (("demo-key-123", "2"), ("demo-key-124", None)):
        answer = ask(daemon.port, method="PUT", body=b"", token=token)
        assert answer.status == 405
        assert answer.header("x-ratelimit-remaining-requests") == left


def test_models_and_health_are_not_charged(proxy):
    daemon, _ = proxy(tokens=limited(rpm=1))
    for path in ("/v1/models", "/healthz"):
        answer = ask(daemon.port, path)
        assert answer.status == 200
        assert answer.header("x-ratelimit-limit-requests") is None
    assert ask(daemon.port, body=chat()).status == 200


def test_without_limits_there_are_no_headers(proxy):
    answer = ask(proxy(ok)[0].port, body=chat())
    assert answer.header("x-ratelimit-limit-requests") is None


@pytest.mark.threads
def test_counters_survive_a_reload_and_a_lowered_limit_counts(proxy, workers):
    daemon, _ = proxy(ok, WORKERS=workers, tokens=limited(rpm=10))
    for _ in range(5):
        ask(daemon.port, body=chat())
    import json
    daemon.write_config(TOKENS_JSON=json.dumps(limited(rpm=6)))
    daemon.reload()
    answer = ask(daemon.port, body=chat())
    assert answer.status == 200
    assert answer.header("x-ratelimit-remaining-requests") == "0"
    assert ask(daemon.port, body=chat()).status == 429
    daemon.write_config(TOKENS_JSON=json.dumps(limited(rpm=3)))
    daemon.reload()
    denied = ask(daemon.port, body=chat())
    assert denied.status == 429
    assert denied.header("x-ratelimit-remaining-requests") == "0"


def test_a_denied_client_keeps_its_connection(proxy):
    daemon, _ = proxy(ok, tokens=limited(rpm=1))
    with Client(daemon.port) as client:
        statuses = [client.ask(body=chat()).status for _ in range(4)]
    assert statuses == [200, 429, 429, 429]


def test_no_request_id_hides_the_limits(proxy):
    daemon, _ = proxy(tokens=limited(rpm=5))
    answer = ask(daemon.port, body=b"{bad",
                 headers=["X-Request-Id: X-RateLimit-"])
    assert answer.status == 400
    assert answer.header("X-RateLimit-Remaining-Requests") == "5"
